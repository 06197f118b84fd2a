#include <algorithm>

#include "conform.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::string_view kSpace = " \t\r\n";

void check_size(const std::filesystem::path& file, size_t bytes) {
  if (bytes > kMaxFileBytes) {
    fail(ExitCode::kBadInput, "{}: {} bytes; files above {} bytes are not read", file.string(), bytes, kMaxFileBytes);
  }
}

std::string_view without_mark(std::string_view text) {
  return text.starts_with(kByteOrderMark) ? text.substr(kByteOrderMark.size()) : text;
}

Json object_row(Json value, const std::string& where) {
  if (!value.is_object())
    fail(ExitCode::kBadInput, "{}: a JSON object was expected, found {}", where, value.type_name());
  return value;
}

std::vector<Json> parse_lines(std::string_view text, const std::string& name) {
  std::vector<Json> rows;
  size_t line_number = 1;
  for (size_t start = 0; start < text.size(); ++line_number) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    start = end + 1;
    if (line.find_first_not_of(kSpace) == line.npos) continue;
    const std::string where = fmt::format("{}:{}", name, line_number);
    rows.push_back(object_row(parse_json(line, where), where));
  }
  return rows;
}

std::vector<Json> rows_of_list(Json list, const std::string& name) {
  std::vector<Json> rows;
  rows.reserve(list.size());
  const bool texts = !list.empty() && list[0].is_string();
  for (size_t i = 0; i < list.size(); ++i) {
    if (texts && list[i].is_string()) {
      rows.push_back({{"text", std::move(list[i])}});
    } else {
      rows.push_back(object_row(std::move(list[i]), fmt::format("{}: item {}", name, i + 1)));
    }
  }
  return rows;
}

// {"a": [1, 2], "b": [3, 4]} as rows.
std::vector<Json> rows_of_columns(const Json& columns, const std::string& name) {
  const size_t size = columns.begin()->size();
  std::vector<Json> rows(size, Json::object());
  for (auto it = columns.begin(); it != columns.end(); ++it) {
    if (it->size() != size) {
      fail(ExitCode::kBadInput, "{}: column '{}' has {} values, '{}' has {}", name, it.key(), it->size(),
           columns.begin().key(), size);
    }
    for (size_t i = 0; i < size; ++i) rows[i][it.key()] = (*it)[i];
  }
  return rows;
}

std::vector<Json> rows_of(Json value, const std::string& name) {
  if (value.is_array()) return rows_of_list(std::move(value), name);
  if (!value.is_object()) fail(ExitCode::kBadInput, "{}: neither a list of objects nor an object", name);
  const bool columns =
      !value.empty() && std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_array(); });
  if (columns) return rows_of_columns(value, name);
  return {std::move(value)};
}

// Whether the text is one JSON object over several lines: its first line alone is no JSON.
bool is_one_document(std::string_view text) {
  const size_t start = text.find_first_not_of(kSpace);
  if (start == text.npos) return false;
  if (text[start] == '[') return true;
  const std::string_view first = text.substr(start, text.find('\n', start) - start);
  return !nlohmann::json::accept(first) && text.find('\n', start) != text.npos &&
         text.substr(start + 1).find_first_not_of(kSpace) != text.npos && first.find_last_not_of(kSpace) != text.npos &&
         first[first.find_last_not_of(kSpace)] != '}';
}

}  // namespace

Table read_jsonl(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  check_size(file, mapped.bytes().size());
  return conform(parse_lines(without_mark(mapped.bytes()), file.string()), file.string());
}

Table read_json(const std::filesystem::path& file, const std::string& field) {
  const MappedFile mapped(file);
  const std::string name = file.string();
  check_size(file, mapped.bytes().size());
  const std::string_view text = without_mark(mapped.bytes());
  if (!field.empty()) {
    Json whole = parse_json(text, name);
    if (!whole.is_object() || !whole.contains(field))
      fail(ExitCode::kBadInput, "{}: there is no field '{}'", name, field);
    return conform(rows_of(std::move(whole[field]), name + ": " + field), name);
  }
  if (is_one_document(text)) return conform(rows_of(parse_json(text, name), name), name);
  return conform(parse_lines(text, name), name);
}

}  // namespace evalmpi::data

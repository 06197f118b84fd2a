#include <algorithm>

#include "conform.h"
#include "evalmpi/base/error.h"
#include "evalmpi/data/file_text.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr size_t kMaxRows = 50'000'000;
constexpr uint64_t kMaxJsonBytes = uint64_t{1} << 30;
constexpr size_t kMaxDepth = 1000;
constexpr size_t kMaxKeys = 10'000;  // of one object; finding a key among them takes a search

// FAILS: kBadInput when an object has more than kMaxKeys keys. The text need not be valid JSON.
void check_key_counts(std::string_view text, const std::string& where) {
  std::vector<size_t> keys{0};  // of the open objects and lists
  bool in_text = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_text) {
      if (c == '\\') ++i;
      if (c == '"') in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '{' || c == '[') {
      keys.push_back(0);
      if (keys.size() > kMaxDepth) return;  // parse_json says it
    } else if ((c == '}' || c == ']') && keys.size() > 1) {
      keys.pop_back();
    } else if (c == ':' && ++keys.back() > kMaxKeys) {
      fail(ExitCode::kBadInput, "{}: a JSON object of more than {} keys", where, kMaxKeys);
    }
  }
}

// A JSON text of bounded size whose objects have a bounded number of keys.
Json parse_bounded(std::string_view text, const std::string& where, uint64_t max_bytes) {
  if (text.size() > max_bytes) {
    fail(ExitCode::kBadInput, "{}: a JSON text of more than {} bytes is not read", where, max_bytes);
  }
  if (text.size() > 6 * kMaxKeys) check_key_counts(text, where);
  return parse_json(text, where);
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
    const std::string_view reach = text.substr(start, kMaxLineBytes + 1);
    const std::string_view line = reach.substr(0, reach.find('\n'));
    start += line.size() + 1;
    if (line.find_first_not_of(kSpace) == line.npos) continue;
    const std::string where = fmt::format("{}:{}", name, line_number);
    if (rows.size() == kMaxRows) fail(ExitCode::kBadInput, "{}: more than {} rows", where, kMaxRows);
    rows.push_back(object_row(parse_bounded(line, where, kMaxLineBytes), where));
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

// A list of objects or texts, or one object: a row.
std::vector<Json> rows_of(Json value, const std::string& name) {
  if (value.is_array()) return rows_of_list(std::move(value), name);
  if (!value.is_object()) fail(ExitCode::kBadInput, "{}: neither a list of objects nor an object", name);
  return {std::move(value)};
}

// The value of `field`: a list of objects or texts, or an object of columns.
std::vector<Json> rows_of_field(Json value, const std::string& name) {
  const bool columns = value.is_object() && !value.empty() &&
                       std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_array(); });
  return columns ? rows_of_columns(value, name) : rows_of(std::move(value), name);
}

// Whether the text is one JSON object over several lines: its first line alone is no JSON.
bool is_one_document(std::string_view text) {
  const size_t start = text.find_first_not_of(kSpace);
  if (start == text.npos) return false;
  if (text[start] == '[') return true;
  const std::string_view reach = text.substr(start, kMaxLineBytes + 1);
  const std::string_view first = reach.substr(0, reach.find('\n'));
  return first.size() < reach.size() && !nlohmann::json::accept(first) &&
         text.substr(start + 1).find_first_not_of(kSpace) != text.npos && first.find_last_not_of(kSpace) != text.npos &&
         first[first.find_last_not_of(kSpace)] != '}';
}

}  // namespace

Table read_jsonl(const std::filesystem::path& file) {
  const FileText text(file);
  const std::string name = file.string();
  return conform(parse_lines(text.bytes(), name), name, Inference::kArrow);
}

Table read_json(const std::filesystem::path& file, const std::string& field) {
  const FileText whole(file);
  const std::string_view text = whole.bytes();
  const std::string name = file.string();
  if (!field.empty()) {
    Json value = parse_bounded(text, name, kMaxJsonBytes);
    if (!value.is_object() || !value.contains(field)) {
      fail(ExitCode::kBadInput, "{}: there is no field '{}'", name, field);
    }
    return conform(rows_of_field(std::move(value[field]), name + ": " + field), name, Inference::kPandas);
  }
  if (!is_one_document(text)) return conform(parse_lines(text, name), name, Inference::kArrow);
  return conform(rows_of(parse_bounded(text, name, kMaxJsonBytes), name), name, Inference::kArrow);
}

}  // namespace evalmpi::data

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <unordered_set>

#include "csv_number.h"
#include "evalmpi/base/error.h"
#include "evalmpi/data/file_text.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {
namespace {

constexpr size_t kMaxColumns = 10'000;
constexpr size_t kMaxCells = 200'000'000;

struct Record {
  size_t line = 1;
  std::vector<std::string> fields;
};

// Cuts CSV text into records (RFC 4180; a quote inside an unquoted field is a character like any other).
class CsvParser {
 public:
  CsvParser(std::string_view text, char separator, std::string name)
      : text_(text), separator_(separator), name_(std::move(name)) {}

  // The next record that is not an empty line; false at the end.
  bool next(Record& record) {
    for (;;) {
      if (position_ >= text_.size()) return false;
      record.line = line_;
      const size_t start = position_;
      record.fields.clear();
      bool quoted = false;
      do {
        record.fields.push_back(read_field(quoted));
        if (record.fields.size() > kMaxColumns)
          fail(ExitCode::kBadInput, "{}:{}: more than {} fields", name_, record.line, kMaxColumns);
      } while (pass_separator());
      if (!is_utf8(text_.substr(start, position_ - start))) {
        fail(ExitCode::kBadInput, "{}:{}: not valid UTF-8; convert the file", name_, record.line);
      }
      pass_line_end();
      const bool is_blank =
          record.fields.size() == 1 && !quoted && record.fields[0].find_first_not_of(" \t") == std::string::npos;
      if (!is_blank) return true;
    }
  }

 private:
  bool pass_separator() {
    if (position_ >= text_.size() || text_[position_] != separator_) return false;
    ++position_;
    return true;
  }

  void pass_line_end() {
    if (position_ < text_.size() && text_[position_] == '\r') ++position_;
    if (position_ < text_.size() && text_[position_] == '\n') ++position_;
    ++line_;
  }

  std::string read_field(bool& quoted) {
    std::string field;
    if (position_ < text_.size() && text_[position_] == '"') {
      quoted = true;
      read_quoted(field);
    }
    const size_t start = position_;
    while (position_ < text_.size() && text_[position_] != separator_ && text_[position_] != '\n' &&
           text_[position_] != '\r') {
      if (++position_ - start > kMaxLineBytes) refuse_long(line_);
    }
    return field.append(text_, start, position_ - start);
  }

  void read_quoted(std::string& field) {
    const size_t first_line = line_;
    for (++position_; position_ < text_.size(); ++position_) {
      const char c = text_[position_];
      if (c == '"') {
        ++position_;
        if (position_ >= text_.size() || text_[position_] != '"') return;
      } else if (c == '\n') {
        ++line_;
      }
      field += c;
      if (field.size() > kMaxLineBytes) refuse_long(first_line);
    }
    fail(ExitCode::kBadInput, "{}:{}: a quote is still open at the end of the file", name_, first_line);
  }

  [[noreturn]] void refuse_long(size_t line) const {
    fail(ExitCode::kBadInput, "{}:{}: a field of more than {} bytes (a quote that is never closed?)", name_, line,
         kMaxLineBytes);
  }

  std::string_view text_;
  char separator_;
  std::string name_;
  size_t position_ = 0;
  size_t line_ = 1;
};

bool is_missing(const std::string& field) {
  static const std::unordered_set<std::string> kMissing = {
      "",     "#N/A", "#N/A N/A", "#NA",  "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
      "<NA>", "N/A",  "NA",       "NULL", "NaN",     "None",     "n/a",  "nan",  "null"};
  return kMissing.contains(field);
}

std::optional<bool> as_flag(const std::string& field) {
  if (field == "True" || field == "TRUE" || field == "true") return true;
  if (field == "False" || field == "FALSE" || field == "false") return false;
  return {};
}

// The types pandas tries in turn for a whole column.
enum class ColumnType { kNull, kInteger, kUnsigned, kFloat, kFlag, kText };

ColumnType type_of(const std::vector<Record>& records, size_t column) {
  bool integers = true, unsigned_ones = true, floats = true, flags = true, missing = false, any = false;
  for (const Record& record : records) {
    const std::string& field = record.fields[column];
    if (is_missing(field)) {
      missing = true;
      continue;
    }
    any = true;
    if (integers && !csv_integer(field)) integers = false;
    if (!integers && unsigned_ones && !csv_unsigned(field)) unsigned_ones = false;
    if (!integers && floats && !csv_float(field)) floats = false;
    if (flags && !as_flag(field)) flags = false;
    if (!integers && !floats && !flags) return ColumnType::kText;
  }
  if (!any) return ColumnType::kNull;
  if (integers) return missing ? ColumnType::kFloat : ColumnType::kInteger;
  if (unsigned_ones && !missing) return ColumnType::kUnsigned;
  if (floats) return ColumnType::kFloat;
  return flags ? ColumnType::kFlag : ColumnType::kText;
}

Json value_of(std::string& field, ColumnType type) {
  if (is_missing(field)) return nullptr;
  switch (type) {
    case ColumnType::kNull: return nullptr;
    case ColumnType::kInteger: return *csv_integer(field);
    case ColumnType::kUnsigned: return *csv_unsigned(field);
    case ColumnType::kFloat: {
      const double value = *csv_float(field);
      return std::isnan(value) ? Json() : Json(value);
    }
    case ColumnType::kFlag: return *as_flag(field);
    case ColumnType::kText: return std::move(field);
  }
  return nullptr;
}

// Header names as pandas makes them: empty ones numbered, repeated ones suffixed.
std::vector<std::string> column_names(std::vector<std::string> header) {
  std::set<std::string> used;
  for (size_t i = 0; i < header.size(); ++i) {
    if (header[i].empty()) header[i] = fmt::format("Unnamed: {}", i);
  }
  const std::set<std::string> original(header.begin(), header.end());
  for (std::string& name : header) {
    std::string candidate = name;
    for (int count = 1; used.contains(candidate) || (candidate != name && original.contains(candidate)); ++count) {
      candidate = fmt::format("{}.{}", name, count);
    }
    name = candidate;
    used.insert(name);
  }
  return header;
}

}  // namespace

Table read_csv(const std::filesystem::path& file, const CsvOptions& options) {
  const FileText text(file);
  const std::string name = file.string();
  CsvParser parser(text.bytes(), options.separator, name);
  Table table;
  Record record;
  if (!options.column_names.empty()) {
    table.columns = options.column_names;
  } else if (parser.next(record)) {
    table.columns = column_names(std::move(record.fields));
  } else {
    fail(ExitCode::kBadInput, "{}: the file is empty; a header was expected", name);
  }
  std::vector<Record> records;
  while (parser.next(record)) {
    if (record.fields.size() > table.columns.size()) {
      fail(ExitCode::kBadInput, "{}:{}: {} fields, but the header has {}", name, record.line, record.fields.size(),
           table.columns.size());
    }
    record.fields.resize(table.columns.size());  // what a short row lacks is missing
    records.push_back(std::move(record));
    if (records.size() * table.columns.size() > kMaxCells)
      fail(ExitCode::kBadInput, "{}: more than {} cells", name, kMaxCells);
  }
  std::vector<ColumnType> types;
  for (size_t c = 0; c < table.columns.size(); ++c) types.push_back(type_of(records, c));
  table.rows.reserve(records.size());
  for (Record& fields : records) {
    Json row = Json::object();
    for (size_t c = 0; c < table.columns.size(); ++c) row[table.columns[c]] = value_of(fields.fields[c], types[c]);
    table.rows.push_back(std::move(row));
    fields.fields = {};
  }
  return table;
}

}  // namespace evalmpi::data

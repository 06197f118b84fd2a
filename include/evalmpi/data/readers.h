#pragma once

// Readers of single files: JSON lines, JSON, CSV, plain text, Parquet and Arrow.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::data {

// Rows of one file. Every row is an object that holds all columns in order (absent values are null).
struct Table {
  std::vector<std::string> columns;
  std::vector<Json> rows;
};

// A file above this size is refused before it is read.
inline constexpr uint64_t kMaxFileBytes = uint64_t{8} << 30;

// One JSON object per line; empty lines are skipped. Columns come in order of first appearance, values absent from a
// line are null, and integers are floats where the column also has floats. Nested objects stay as they are.
// FAILS: kBadInput naming file:line for a line that is not a JSON object; kMissingInput, kIo.
Table read_jsonl(const std::filesystem::path& file);

// An array of objects, JSON lines (whatever the name says), or an object of columns {"a": [1, 2], "b": [3, 4]}.
// With `field`, the value of that key of the top-level object is taken instead. FAILS: as read_jsonl.
Table read_json(const std::filesystem::path& file, const std::string& field = "");

struct CsvOptions {
  char separator = ',';
  std::vector<std::string> column_names;  // when given, the file has no header
};

// RFC 4180 with a header: quotes, doubled quotes, newlines inside quotes, CRLF. Column types as pandas infers
// them over the whole column: int64, float, bool, else text; an empty field (also NA, NaN, null, None, ...) is
// null. FAILS: kBadInput naming file:line when a row has more or fewer fields than the header, or a quote is open
// at the end.
Table read_csv(const std::filesystem::path& file, const CsvOptions& options = {});

// One row {"text": line} per line, without the newline.
Table read_text(const std::filesystem::path& file);

// Apache Parquet, and Arrow IPC (file or stream). FAILS: kBadInput naming the file when it is damaged or holds a
// type with no Python counterpart here.
Table read_parquet(const std::filesystem::path& file);
Table read_arrow(const std::filesystem::path& file);

// The reader that the file's extension asks for (.jsonl .ndjson .json .csv .tsv .txt .parquet .arrow).
// FAILS: kBadInput for another extension; compressed files are named with the remedy.
Table read_table(const std::filesystem::path& file, const Json& kwargs = Json::object());

}  // namespace evalmpi::data

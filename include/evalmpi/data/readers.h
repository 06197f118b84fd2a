#pragma once

// Readers of single files: JSON lines, JSON, CSV, plain text, Parquet and Arrow. They give what `datasets` 5 gives.
//
// Text formats may be compressed (gzip, Zstandard, bzip2, LZ4; told by the first bytes) and start with a byte order
// mark. All of them FAIL with kBadInput, naming file and line, on text that is not UTF-8, damaged or cut off compressed
// data, a line or field above 256 MiB, and on what decompresses to more than 256 MiB and a hundred times its size.

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
// line are null, and integers are floats where the column also has floats. A column of dates is of datetimes, as Arrow
// reads it: {"day": "2024-02-29"} gives "2024-02-29 00:00:00". Nested objects stay as they are.
// FAILS: kBadInput naming file:line for a line that is not a JSON object or has more than 10,000 keys; kMissingInput,
// kIo.
Table read_jsonl(const std::filesystem::path& file);

// An array of objects or texts, JSON lines (whatever the name says), or one object: a row.
// With `field`, the value of that key of the top-level object is taken instead; it may also be an object of columns
// {"a": [1, 2], "b": [3, 4]}, and is read as pandas does. FAILS: as read_jsonl; above 1 GiB.
Table read_json(const std::filesystem::path& file, const std::string& field = "");

struct CsvOptions {
  char separator = ',';
  std::vector<std::string> column_names;  // when given, the file has no header
};

// RFC 4180 with a header: quotes, doubled quotes, newlines inside quotes, CRLF. Column types as pandas infers
// them over the whole column: int64, float, bool, else text; an empty field (also NA, NaN, null, None, ...) is
// null; a short row lacks its last ones. FAILS: kBadInput naming file:line when a row has more fields than the header,
// or a quote is open at the end.
Table read_csv(const std::filesystem::path& file, const CsvOptions& options = {});

enum class TextSample { kLine, kParagraph, kDocument };
struct TextOptions {
  TextSample sample_by = TextSample::kLine;  // paragraphs are divided by an empty line; a document is the whole file
  bool keep_linebreaks = false;              // of lines
};

// One row {"text": sample} per line, paragraph or file.
Table read_text(const std::filesystem::path& file, const TextOptions& options = {});

// Apache Parquet, and Arrow IPC (file or stream). FAILS: kBadInput naming the file (and row group or batch) when it is
// damaged or holds a type with no Python counterpart here.
Table read_parquet(const std::filesystem::path& file);
Table read_arrow(const std::filesystem::path& file);

// The reader that the file's extension asks for (.jsonl .ndjson .json .csv .tsv .txt .parquet .arrow; a compression's
// behind it does not count). `kwargs` are those of `datasets`' builders: field; sep, delimiter, column_names, names;
// sample_by, keep_linebreaks; encoding (UTF-8 only); format, which wins over the extension.
// FAILS: kBadInput for another extension.
Table read_table(const std::filesystem::path& file, const Json& kwargs = Json::object());

}  // namespace evalmpi::data

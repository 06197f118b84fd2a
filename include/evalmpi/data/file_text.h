#pragma once

// The text of a data file, decompressed where it is compressed.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "evalmpi/base/file.h"

namespace evalmpi::data {

// A line of JSON and a field of CSV above this size are refused.
inline constexpr uint64_t kMaxLineBytes = uint64_t{256} << 20;

// The bytes of a file without a byte order mark. gzip, Zstandard, bzip2 and LZ4 are told by their first bytes and
// decompressed to memory. FAILS: kMissingInput, kIo; kBadInput naming the file when it is damaged or cut off, is an
// archive or UTF-16, above kMaxFileBytes, or when it decompresses to more than 256 MiB and a hundred times its size.
class FileText {
 public:
  explicit FileText(const std::filesystem::path& file);
  std::string_view bytes() const { return text_; }

 private:
  MappedFile mapped_;
  std::string decompressed_;
  std::string_view text_;
};

// Whether the text is valid UTF-8.
bool is_utf8(std::string_view text);

// The file's name without the extension of a compression: rows.jsonl of rows.jsonl.gz.
std::filesystem::path without_compression(const std::filesystem::path& file);

}  // namespace evalmpi::data

#pragma once

// Reading whole files, durable writing, and paths that come from untrusted files.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace evalmpi {

// The file's bytes. FAILS: kMissingInput if it does not exist, kIo if it cannot be read, kBadInput if it
// is larger than max_bytes.
std::string read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 32);

// Makes `path` hold exactly `bytes`, or leaves it as it was: temporary file in the same directory, fsync,
// rename, fsync of the directory. Mode 0600 under umask 077. FAILS: kCannotWrite if the directory is not
// writable, kIo on any later error (a full disk), with the path and the system's words.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// `root / name` for a `name` that was read from a file: relative, without "..", and after resolving links
// still below `root`. Links out of root are allowed when `allow_links_out` (the Hugging Face cache keeps its
// blobs beside its snapshots). FAILS: kBadInput naming both.
std::filesystem::path safe_path(const std::filesystem::path& root, std::string_view name,
                                bool allow_links_out = false);

// A read-only memory map of a whole file; move-only, unmapped at destruction.
class MappedFile {
 public:
  // FAILS: kMissingInput, kIo.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  std::string_view bytes() const { return {data_, size_bytes_}; }
  // Gives back the memory that holds `part` of bytes(); reading it again is right, and reads the file again.
  void forget(std::string_view part) const;

 private:
  const char* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace evalmpi

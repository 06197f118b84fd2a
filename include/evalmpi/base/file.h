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
// writable, kIo on any later error (a full disk), as fail_to_write.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// Removes from `directory` what writers that were killed have left there: files named as temporary_beside() names them.
// For whoever holds the directory: it takes them from writers that still live, too.
void remove_temporaries(const std::filesystem::path& directory) noexcept;

// FAILS: always: "PATH: cannot <what> N bytes: <the system's words>", on a full disk with what is free there and the
// remedy; with the code of exit_code_of(error).
[[noreturn]] void fail_to_write(const std::filesystem::path& path, std::string_view what, uint64_t bytes, int error);

// `root / name` for a `name` that was read from a file: relative, without "..", and after resolving links
// still below `root`. Links out of root are allowed when `allow_links_out` (the Hugging Face cache keeps its
// blobs beside its snapshots). FAILS: kBadInput naming both.
std::filesystem::path safe_path(const std::filesystem::path& root, std::string_view name, bool allow_links_out = false);

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

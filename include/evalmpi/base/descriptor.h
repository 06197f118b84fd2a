#pragma once

// An owned POSIX file descriptor, and the steps of durable writing.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "evalmpi/base/error.h"

namespace evalmpi {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// errno of a call that may not write there at all means 73, anything else (a full disk) 74.
inline ExitCode exit_code_of(int error) {
  const bool is_io = error == ENOSPC || error == EDQUOT || error == EIO;
  return is_io ? ExitCode::kIo : ExitCode::kCannotWrite;
}

// Makes renames and new names in `directory` durable. FAILS: kIo.
inline void sync_directory(const std::filesystem::path& directory) {
  const Descriptor folder(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || ::fsync(folder.get()) != 0) {
    fail(ExitCode::kIo, "{}: cannot fsync the directory: {}", directory.string(), std::strerror(errno));
  }
}

// Writes all of `bytes` at the descriptor's position: 0, or the errno that stopped it.
inline int write_fully(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

// A name beside `path` that nobody else uses.
inline std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  std::random_device random;
  return path.parent_path() / fmt::format(".{}.{}.{:08x}.tmp", path.filename().string(), ::getpid(), random());
}

}  // namespace evalmpi

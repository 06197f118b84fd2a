#include "evalmpi/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "evalmpi/base/descriptor.h"
#include "evalmpi/base/error.h"

namespace evalmpi {
namespace fs = std::filesystem;
namespace {

int open_for_reading(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) return fd;
  const int error = errno;
  if (error == ENOENT || error == ENOTDIR) fail(ExitCode::kMissingInput, "{}: no such file", path.string());
  fail(ExitCode::kIo, "{}: cannot open: {}", path.string(), std::strerror(error));
}

uint64_t regular_size_bytes(int fd, const fs::path& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail(ExitCode::kIo, "{}: {}", path.string(), std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(ExitCode::kBadInput, "{}: not a regular file", path.string());
  return static_cast<uint64_t>(status.st_size);
}

bool is_number(std::string_view text, std::string_view digits) {
  return !text.empty() && text.find_first_not_of(digits) == std::string_view::npos;
}

// ".<name>.<process>.<eight hexadecimal digits>.tmp"
bool is_temporary(std::string_view name) {
  constexpr std::string_view kEnd = ".tmp";
  if (!name.starts_with('.') || !name.ends_with(kEnd)) return false;
  name.remove_suffix(kEnd.size());
  const size_t random = name.rfind('.');
  if (name.size() - random != 9 || !is_number(name.substr(random + 1), "0123456789abcdef")) return false;
  name = name.substr(0, random);
  const size_t process = name.rfind('.');
  return process != std::string_view::npos && process > 0 && is_number(name.substr(process + 1), "0123456789");
}

}  // namespace

std::string read_file(const fs::path& path, uint64_t max_bytes) {
  const Descriptor file(open_for_reading(path));
  const uint64_t size_bytes = regular_size_bytes(file.get(), path);
  if (size_bytes > max_bytes) {
    fail(ExitCode::kBadInput, "{}: {} bytes, more than the {} that are read of such a file", path.string(), size_bytes,
         max_bytes);
  }
  std::string bytes(size_bytes, '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ExitCode::kIo, "{}: cannot read: {}", path.string(), std::strerror(errno));
    if (got == 0) fail(ExitCode::kIo, "{}: became shorter while it was read", path.string());
    done += static_cast<size_t>(got);
  }
  return bytes;
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  const fs::path temporary = temporary_beside(path);
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) {
    const int error = errno;
    fail(exit_code_of(error), "{}: cannot create: {}", path.string(), std::strerror(error));
  }
  try {
    if (const int error = write_fully(file.get(), bytes)) fail_to_write(path, "write", bytes.size(), error);
    if (::fsync(file.get()) != 0) fail_to_write(path, "fsync", bytes.size(), errno);
    if (::close(file.release()) != 0) fail_to_write(path, "close after", bytes.size(), errno);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail_to_write(path, "rename into place", bytes.size(), errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(path.parent_path());
}

void remove_temporaries(const fs::path& directory) noexcept {
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (is_temporary(entry->path().filename().native())) fs::remove(entry->path(), ignored);
  }
}

void fail_to_write(const fs::path& path, std::string_view what, uint64_t bytes, int error) {
  std::string remedy;
  struct statvfs disk {};
  if ((error == ENOSPC || error == EDQUOT) && ::statvfs(path.parent_path().c_str(), &disk) == 0) {
    remedy = fmt::format(" ({} bytes are free there); make room and start again", disk.f_bavail * disk.f_frsize);
  }
  fail(exit_code_of(error), "{}: cannot {} {} bytes: {}{}", path.string(), what, bytes, std::strerror(error), remedy);
}

fs::path safe_path(const fs::path& root, std::string_view name, bool allow_links_out) {
  const fs::path relative{std::string(name)};
  bool plain = !name.empty() && relative.is_relative() && name.find('\0') == std::string_view::npos;
  for (const fs::path& part : relative) plain = plain && part != "..";
  if (!plain) fail(ExitCode::kBadInput, "\"{}\" is not a path inside {}", name, root.string());
  const fs::path joined = root / relative;
  if (allow_links_out) return joined;
  std::error_code error;
  const fs::path real_root = fs::weakly_canonical(root, error);
  const fs::path real = error ? fs::path() : fs::weakly_canonical(joined, error);
  if (error) fail(ExitCode::kIo, "{}: {}", joined.string(), error.message());
  const fs::path from_root = real.lexically_relative(real_root);
  if (from_root.empty() || *from_root.begin() == "..") {
    fail(ExitCode::kBadInput, "\"{}\" leads out of {}", name, root.string());
  }
  return joined;
}

MappedFile::MappedFile(const fs::path& path) {
  const Descriptor file(open_for_reading(path));
  size_bytes_ = regular_size_bytes(file.get(), path);
  if (size_bytes_ == 0) return;
  void* address = ::mmap(nullptr, size_bytes_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED && errno == ENOMEM) {
    fail(ExitCode::kUnavailable, "{}: out of memory: its {} MiB cannot be mapped", path.string(), size_bytes_ >> 20);
  }
  if (address == MAP_FAILED) fail(ExitCode::kIo, "{}: cannot map: {}", path.string(), std::strerror(errno));
  data_ = static_cast<const char*>(address);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_bytes_(std::exchange(other.size_bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

void MappedFile::forget(std::string_view part) const {
  if (part.empty()) return;
  static const auto page_bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(part.data()) / page_bytes * page_bytes;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size());
  // Only advice: the map is private and never written, so its pages can be had again.
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_bytes_);
}

}  // namespace evalmpi

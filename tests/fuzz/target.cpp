#include "target.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "evalmpi/base/error.h"

namespace evalmpi::fuzz {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void give_up(const char* kind, const char* what) {
  std::fprintf(stderr, "\n%s: %s\n", kind, what);
  std::abort();
}

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) give_up("cannot write the input", "no memory");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

struct Folder {
  Folder() {
    std::string name =
        (fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path().string()) + "/evalmpi-fuzz-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) give_up("cannot make a folder", name.c_str());
    path = name;
  }
  ~Folder() {
    std::error_code error;
    fs::remove_all(path, error);
  }
  fs::path path;
};

}  // namespace

void feed(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    if (error.code() == ExitCode::kInternal) give_up("an invariant does not hold", error.what());
  } catch (const std::exception& error) {
    give_up("an exception that is no Error", error.what());
  }
}

void require(bool holds, const char* promise) {
  if (!holds) give_up("a broken promise", promise);
}

std::vector<std::string> parts(std::string_view input, size_t count) {
  constexpr std::string_view kBetween = "\n====\n";
  std::vector<std::string> parts;
  while (parts.size() + 1 < count) {
    const size_t end = input.find(kBetween);
    if (end == input.npos) break;
    parts.emplace_back(input.substr(0, end));
    input.remove_prefix(end + kBetween.size());
  }
  parts.emplace_back(input);
  parts.resize(count);
  return parts;
}

std::string patched(std::string bytes, std::string_view patches) {
  for (; patches.size() >= 3 && !bytes.empty(); patches.remove_prefix(3)) {
    const size_t place =
        static_cast<unsigned char>(patches[0]) | static_cast<size_t>(static_cast<unsigned char>(patches[1])) << 8;
    bytes[place % bytes.size()] = patches[2];
  }
  return bytes;
}

const fs::path& as_file(std::string_view bytes) {
  static const int fd = ::memfd_create("evalmpi-fuzz", 0);
  static const fs::path path = "/proc/self/fd/" + std::to_string(fd);
  if (::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) give_up("cannot write the input", "memfd");
  write_all(fd, bytes);
  return path;
}

const fs::path& folder() {
  static const Folder folder;
  return folder.path;
}

void put_file(const std::string& name, std::string_view bytes) {
  const int fd = ::open((folder() / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) give_up("cannot write the input", name.c_str());
  write_all(fd, bytes);
  ::close(fd);
}

}  // namespace evalmpi::fuzz

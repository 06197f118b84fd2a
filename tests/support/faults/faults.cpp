// Faults on purpose, for tests: a library that is preloaded into the real program, counts the calls that change files
// below one folder (or MPI's messages), and makes one of them fail or kills the process there.
//
//   LD_PRELOAD=libevalmpi_faults.so  and in the environment:
//   FAULT_FOLDER   absolute path: calls on files below it count, by path or by descriptor
//   FAULT_CALLS    which calls count; each process counts its own, from 1: "files" (default), "messages" (of MPI),
//                  "collectives" (those messages in which all ranks take part), "posts" (those that one sends)
//   FAULT_AT       the call at which the fault happens; 0 or none: never
//   FAULT_KIND     ENOSPC, EIO, EINTR: the call fails; short: a write takes half of its bytes;
//                  kill-before, kill-after: SIGKILL before or after the call has had its effect;
//                  stop-before: SIGSTOP before the call
//   FAULT_ONWARD   1: at every call from FAULT_AT on
//   FAULT_TRACE    a file that gets one line for each counted call: number, name, path
//   FAULT_RANK     only in this rank of mpirun (OMPI_COMM_WORLD_RANK); others do not count at all
//
// The program's own calls go through the dynamic linker and are seen, those of libstdc++ and HDF5 too; stdio's are not.

#include "faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace evalmpi::faults {
namespace {

struct Plan {
  std::string folder;
  bool counts_files = false, counts_posts = false, counts_collectives = false;
  long at = 0;
  bool is_onward = false;
  Kind kind = Kind::kNone;
  int error = 0;
  int trace_fd = -1;
  bool is_active = false;
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Plan read_plan() {
  Plan plan;
  plan.folder = variable("FAULT_FOLDER");
  const std::string calls = variable("FAULT_CALLS");
  plan.counts_files = calls.empty() || calls == "files";
  plan.counts_posts = calls == "messages" || calls == "posts";
  plan.counts_collectives = calls == "messages" || calls == "collectives";
  plan.at = std::atol(variable("FAULT_AT").c_str());
  plan.is_onward = variable("FAULT_ONWARD") == "1";
  const std::string kind = variable("FAULT_KIND");
  if (kind == "ENOSPC") plan.kind = Kind::kError, plan.error = ENOSPC;
  if (kind == "EIO") plan.kind = Kind::kError, plan.error = EIO;
  if (kind == "EINTR") plan.kind = Kind::kError, plan.error = EINTR;
  if (kind == "short") plan.kind = Kind::kShort;
  if (kind == "kill-before") plan.kind = Kind::kKillBefore;
  if (kind == "kill-after") plan.kind = Kind::kKillAfter;
  if (kind == "stop-before") plan.kind = Kind::kStopBefore;
  const std::string rank = variable("FAULT_RANK");
  plan.is_active = !plan.folder.empty() && (rank.empty() || rank == variable("OMPI_COMM_WORLD_RANK"));
  const std::string trace = variable("FAULT_TRACE");
  if (plan.is_active && !trace.empty()) {
    plan.trace_fd = static_cast<int>(
        ::syscall(SYS_openat, AT_FDCWD, trace.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  }
  return plan;
}

const Plan& plan() {
  static const Plan instance = read_plan();
  return instance;
}

std::atomic<long> calls{0};

bool is_below_folder(const std::string& path) {
  const std::string& folder = plan().folder;
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

std::string absolute(int directory, const char* path) {
  if (path[0] == '/') return path;
  char buffer[PATH_MAX] = {};
  if (directory == AT_FDCWD) return ::getcwd(buffer, sizeof buffer) == nullptr ? "" : std::string(buffer) + "/" + path;
  const std::string link = "/proc/self/fd/" + std::to_string(directory);
  if (::readlink(link.c_str(), buffer, sizeof buffer - 1) < 0) return "";
  return std::string(buffer) + "/" + path;
}

std::string path_of(int fd) {
  char buffer[PATH_MAX] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  return ::readlink(link.c_str(), buffer, sizeof buffer - 1) < 0 ? "" : buffer;
}

// Counts one call; what is to happen with it.
Kind count(const char* name, const std::string& path) {
  const long number = ++calls;
  if (plan().trace_fd >= 0) {
    const std::string line = std::to_string(number) + " " + name + " " + path + "\n";
    ::syscall(SYS_write, plan().trace_fd, line.data(), line.size());
  }
  const bool is_struck = plan().at > 0 && (number == plan().at || (plan().is_onward && number > plan().at));
  const Kind kind = is_struck ? plan().kind : Kind::kNone;
  if (kind == Kind::kKillBefore) die();
  if (kind == Kind::kStopBefore) ::kill(::getpid(), SIGSTOP);
  return kind;
}

}  // namespace

[[noreturn]] void die() {
  while (true) ::kill(::getpid(), SIGKILL);
}

Kind count_message(const char* name, Message message) {
  const bool counts = message == Message::kPost ? plan().counts_posts : plan().counts_collectives;
  return plan().is_active && counts ? count(name, "") : Kind::kNone;
}

namespace {

Kind count_file(const char* name, const std::string& path) {
  if (!plan().is_active || !plan().counts_files || !is_below_folder(path)) return Kind::kNone;
  return count(name, path);
}

// The call as it is without this library.
template <typename Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

// Any call that either has its whole effect or fails.
template <typename Call>
auto strike(Kind kind, Call&& call) -> decltype(call()) {
  if (kind == Kind::kError) {
    errno = plan().error;
    return -1;
  }
  const auto result = call();
  if (kind == Kind::kKillAfter) die();
  return result;
}

int open_counted(const char* name, int directory, const char* path, int flags, mode_t mode) {
  const bool changes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT) != 0;
  const Kind kind = changes ? count_file(name, absolute(directory, path)) : Kind::kNone;
  return strike(kind, [&] { return static_cast<int>(::syscall(SYS_openat, directory, path, flags, mode)); });
}

mode_t mode_argument(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace
}  // namespace evalmpi::faults

using namespace evalmpi::faults;

#define OPEN_CALL(name)                                       \
  int name(const char* path, int flags, ...) {                \
    va_list arguments;                                        \
    va_start(arguments, flags);                               \
    const mode_t mode = mode_argument(flags, arguments);      \
    va_end(arguments);                                        \
    return open_counted("open", AT_FDCWD, path, flags, mode); \
  }

#define OPENAT_CALL(name)                                      \
  int name(int directory, const char* path, int flags, ...) {  \
    va_list arguments;                                         \
    va_start(arguments, flags);                                \
    const mode_t mode = mode_argument(flags, arguments);       \
    va_end(arguments);                                         \
    return open_counted("open", directory, path, flags, mode); \
  }

extern "C" {

OPEN_CALL(open)
OPEN_CALL(open64)
OPENAT_CALL(openat)
OPENAT_CALL(openat64)

ssize_t write(int fd, const void* bytes, size_t size) {
  const Kind kind = count_file("write", path_of(fd));
  const size_t taken = kind == Kind::kShort && size > 1 ? size / 2 : size;
  return strike(kind, [&] { return ::syscall(SYS_write, fd, bytes, taken); });
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  const Kind kind = count_file("pwrite", path_of(fd));
  const size_t taken = kind == Kind::kShort && size > 1 ? size / 2 : size;
  return strike(kind, [&] { return ::syscall(SYS_pwrite64, fd, bytes, taken, offset); });
}

ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) { return pwrite(fd, bytes, size, offset); }

ssize_t writev(int fd, const iovec* parts, int number) {
  const Kind kind = count_file("writev", path_of(fd));
  const int taken = kind == Kind::kShort && number > 1 ? number / 2 : number;
  return strike(kind, [&] { return ::syscall(SYS_writev, fd, parts, taken); });
}

int fsync(int fd) {
  return strike(count_file("fsync", path_of(fd)), [&] { return static_cast<int>(::syscall(SYS_fsync, fd)); });
}

int fdatasync(int fd) {
  return strike(count_file("fdatasync", path_of(fd)), [&] { return static_cast<int>(::syscall(SYS_fdatasync, fd)); });
}

int ftruncate(int fd, off_t size) {
  return strike(count_file("ftruncate", path_of(fd)),
                [&] { return static_cast<int>(::syscall(SYS_ftruncate, fd, size)); });
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

// A close that fails has closed all the same, as on Linux.
int close(int fd) {
  const bool is_written = (::fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
  const Kind kind = is_written ? count_file("close", path_of(fd)) : Kind::kNone;
  const int result = static_cast<int>(::syscall(SYS_close, fd));
  if (kind == Kind::kKillAfter) die();
  if (kind != Kind::kError) return result;
  errno = plan().error;
  return -1;
}

int rename(const char* from, const char* to) {
  return strike(count_file("rename", absolute(AT_FDCWD, to)),
                [&] { return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0)); });
}

int renameat(int from_directory, const char* from, int to_directory, const char* to) {
  return strike(count_file("rename", absolute(to_directory, to)),
                [&] { return static_cast<int>(::syscall(SYS_renameat2, from_directory, from, to_directory, to, 0)); });
}

int mkdir(const char* path, mode_t mode) {
  return strike(count_file("mkdir", absolute(AT_FDCWD, path)),
                [&] { return static_cast<int>(::syscall(SYS_mkdirat, AT_FDCWD, path, mode)); });
}

int link(const char* from, const char* to) {
  return strike(count_file("link", absolute(AT_FDCWD, to)),
                [&] { return static_cast<int>(::syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0)); });
}

int unlink(const char* path) {
  return strike(count_file("unlink", absolute(AT_FDCWD, path)),
                [&] { return static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path, 0)); });
}

int remove(const char* path) {
  return strike(count_file("unlink", absolute(AT_FDCWD, path)),
                [&] { return real<int (*)(const char*)>("remove")(path); });
}

}  // extern "C"

#undef OPEN_CALL
#undef OPENAT_CALL

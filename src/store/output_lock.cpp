#include "evalmpi/store/output_lock.h"

#include <fmt/chrono.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <ctime>
#include <fstream>
#include <optional>
#include <random>
#include <sstream>
#include <thread>

#include "evalmpi/base/descriptor.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/log.h"
#include "evalmpi/base/process.h"

namespace evalmpi::store {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFileName = "output.lock";
constexpr uint64_t kMaxLockBytes = 64 << 10;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string text_of(const Json& holder, const char* name) {
  const auto field = holder.find(name);
  if (field == holder.end()) return "?";
  return field->is_string() ? field->get<std::string>() : field->dump();
}

// What the lock file says, if it says anything yet.
struct Found {
  std::string text;
  Json holder = Json::object();
};

std::optional<Found> read_lock(const fs::path& path) {
  Found found;
  try {
    found.text = read_file(path, kMaxLockBytes);
  } catch (const Error& error) {
    if (error.code() == ExitCode::kMissingInput) return std::nullopt;
    throw;
  }
  Json parsed = Json::parse(found.text, nullptr, false);
  if (parsed.is_object()) found.holder = std::move(parsed);
  return found;
}

std::string describe(const Json& holder) {
  return fmt::format("run {} on host {}, process {}, started {}", text_of(holder, "run"), text_of(holder, "host"),
                     text_of(holder, "pid"), text_of(holder, "started"));
}

enum class Life { kDead, kAlive, kUnknown };

Life life_of(const Json& holder, const Json& self) {
  for (const char* field : {"host", "boot", "pid_namespace"}) {
    if (text_of(holder, field) != text_of(self, field)) return Life::kUnknown;
  }
  const Json pid = holder.value("pid", Json());
  if (!pid.is_number_integer() || pid.get<int64_t>() <= 0) return Life::kUnknown;
  const std::string start = process_start(pid.get<int64_t>());
  return !start.empty() && start == text_of(holder, "process_start") ? Life::kAlive : Life::kDead;
}

[[noreturn]] void fail_in_use(const fs::path& path, const Json& holder) {
  fail(ExitCode::kCannotWrite, "{}: in use by {}; wait for it, or choose another output directory",
       path.parent_path().string(), describe(holder));
}

// Keeps two takers on one host apart where the file system has locks; elsewhere the exclusive creation decides.
Descriptor guard_directory(const fs::path& directory) {
  Descriptor folder(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) {
    while (::flock(folder.get(), LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  return folder;
}

// Takes the lock file that was judged dead out of the way. If it is another one by now, that one is put back.
void remove_judged(const fs::path& path, const Found& judged) {
  const fs::path aside = temporary_beside(path);
  if (::rename(path.c_str(), aside.c_str()) != 0) return;
  const std::optional<Found> removed = read_lock(aside);
  if (removed && removed->text != judged.text) {
    if (::link(aside.c_str(), path.c_str()) != 0) log::warning("{}: lost a lock while taking it over", path.string());
  }
  ::unlink(aside.c_str());
}

// The lock file of this holder, with its content from the first moment: a taker that is killed leaves no lock that
// names nobody. No descriptor (errno EEXIST): there is one already. FAILS: kCannotWrite, kIo.
Descriptor create_lock(const fs::path& path, std::string_view text) {
  const fs::path temporary = temporary_beside(path);
  Descriptor file(::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) fail_to_write(path, "create for", text.size(), errno);
  int error = write_fully(file.get(), text);
  if (error == 0 && ::fsync(file.get()) != 0) error = errno;
  if (error == 0 && ::link(temporary.c_str(), path.c_str()) != 0) error = errno;
  ::unlink(temporary.c_str());
  if (error == EPERM || error == ENOTSUP || error == ENOSYS) {  // a file system without hard links
    file = Descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    error = file.get() < 0 ? errno : write_fully(file.get(), text);
  }
  if (error == EEXIST) return Descriptor();
  if (error != 0) fail_to_write(path, "write", text.size(), error);
  return file;
}

class Watch {
 public:
  explicit Watch(const LockPatience& patience) : patience_(patience) {}
  std::chrono::steady_clock::time_point now() const {
    return patience_.now ? patience_.now() : std::chrono::steady_clock::now();
  }
  void wait() const {
    if (patience_.wait) {
      patience_.wait(patience_.poll);
    } else {
      std::this_thread::sleep_for(patience_.poll);
    }
  }

  // Returns when the heartbeat stood still for long enough or the lock is gone. FAILS: kCannotWrite when it moves.
  void see_silence(const fs::path& path, const Found& first) const {
    log::info("{}: locked by {}; waiting up to {} s for a sign of life", path.parent_path().string(),
              describe(first.holder), patience_.silence.count() / 1000.0);
    for (const auto start = now(); now() - start < patience_.silence;) {
      wait();
      const std::optional<Found> again = read_lock(path);
      if (!again) return;
      if (again->text != first.text) fail_in_use(path, again->holder);
    }
    log::warning("{}: taken over from {}, silent for {} s", path.parent_path().string(), describe(first.holder),
                 patience_.silence.count() / 1000.0);
  }

 private:
  const LockPatience& patience_;
};

Json describe_self(const Json& holder) {
  Json self = holder;
  self["host"] = host_name();
  self["pid"] = static_cast<int64_t>(::getpid());
  self["started"] = fmt::format("{:%FT%TZ}", fmt::gmtime(std::time(nullptr)));
  self["process_start"] = process_start(::getpid());
  self["boot"] = first_line("/proc/sys/kernel/random/boot_id");
  self["pid_namespace"] = pid_namespace();
  std::random_device random;
  self["nonce"] = fmt::format("{:08x}{:08x}", random(), random());
  return self;
}

// The text of every beat has one length, so that it is replaced by one write in place.
std::string lock_text(Json content, uint64_t beats) {
  content["beats"] = fmt::format("{:020}", beats);
  return content.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

void prepare_output_directory(const fs::path& directory) {
  std::error_code error;
  const fs::file_status status = fs::status(directory, error);
  if (fs::exists(status) && !fs::is_directory(status)) {
    fail(ExitCode::kCannotWrite, "{}: a file, not a directory; choose another output", directory.string());
  }
  fs::create_directories(directory, error);
  if (error) {
    fail(exit_code_of(error.value()), "{}: cannot create the output directory: {}", directory.string(),
         error.message());
  }
  const fs::path probe = temporary_beside(directory / "probe");
  const Descriptor file(::open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) {
    fail(exit_code_of(errno), "{}: cannot write into the output directory: {}", directory.string(),
         std::strerror(errno));
  }
  ::unlink(probe.c_str());
}

OutputLock OutputLock::acquire(const fs::path& directory, const Json& holder, const LockPatience& patience) {
  EVALMPI_CHECK(holder.is_object());
  OutputLock lock;
  lock.path_ = directory / kFileName;
  lock.content_ = describe_self(holder);
  const Watch watch(patience);
  constexpr int kMaxTries = 100;  // each lost to another run that came and went
  for (int tries = 0; tries < kMaxTries; ++tries) {
    std::optional<Found> found;
    {
      const Descriptor guard = guard_directory(directory);
      lock.fd_ = create_lock(lock.path_, lock_text(lock.content_, lock.beats_++)).release();
      if (lock.fd_ >= 0) return lock;
      found = read_lock(lock.path_);
      if (!found) continue;
      const Life life = life_of(found->holder, lock.content_);
      if (life == Life::kAlive) fail_in_use(lock.path_, found->holder);
      if (life == Life::kDead) {
        log::info("{}: taken over from {}, which is gone", directory.string(), describe(found->holder));
        remove_judged(lock.path_, *found);
        continue;
      }
    }
    watch.see_silence(lock.path_, *found);
    const Descriptor guard = guard_directory(directory);
    remove_judged(lock.path_, *found);
  }
  fail(ExitCode::kCannotWrite, "{}: other runs keep taking it; choose another output directory", directory.string());
}

Holder holder_of(const fs::path& directory) {
  const std::optional<Found> found = read_lock(directory / kFileName);
  if (!found) return {};
  constexpr HolderLife kLives[] = {HolderLife::kDead, HolderLife::kAlive, HolderLife::kUnknown};
  const Life life = life_of(found->holder, describe_self(Json::object()));
  return {kLives[static_cast<int>(life)], found->holder, found->text};
}

OutputLock::OutputLock(OutputLock&& other) noexcept
    : path_(std::move(other.path_)),
      content_(std::move(other.content_)),
      beats_(other.beats_),
      fd_(std::exchange(other.fd_, -1)) {}

OutputLock::~OutputLock() {
  if (fd_ < 0) return;
  if (is_ours()) ::unlink(path_.c_str());
  ::close(fd_);
}

bool OutputLock::is_ours() const {
  struct stat opened {};
  struct stat named {};
  return ::fstat(fd_, &opened) == 0 && ::stat(path_.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

void OutputLock::beat() {
  if (!is_ours()) {
    const std::optional<Found> found = read_lock(path_);
    if (found) fail_in_use(path_, found->holder);
    fail(ExitCode::kCannotWrite, "{}: our lock was removed; another run may write there", path_.string());
  }
  const std::string text = lock_text(content_, beats_++);
  if (::lseek(fd_, 0, SEEK_SET) != 0) fail_to_write(path_, "write", text.size(), errno);
  if (const int error = write_fully(fd_, text)) fail_to_write(path_, "write", text.size(), error);
  if (::fsync(fd_) != 0) fail_to_write(path_, "fsync", text.size(), errno);
}

}  // namespace evalmpi::store

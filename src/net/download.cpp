#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <set>
#include <thread>

#include "evalmpi/base/descriptor.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/log.h"
#include "evalmpi/net/hub.h"
#include "exchange.h"

namespace evalmpi::net {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr uint64_t kSpareBytes = uint64_t{64} << 20;  // left free on the disk

uint64_t size_of(const fs::path& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  return error ? 0 : size;
}

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

void make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(exit_code_of(error.value()), "{}: cannot create: {}", folder.string(), error.message());
}

// Where one repository lies in the cache.
struct Places {
  fs::path root, blobs, snapshot, locks;
};

Places places_of(const Repository& repository) {
  const fs::path root = repository_folder(repository.kind, repository.id);
  return {root, root / "blobs", root / "snapshots" / repository.commit, hub_cache() / ".locks" / root.filename()};
}

// The bytes that files of all threads have together, for the report.
struct Tally {
  std::mutex mutex;
  std::condition_variable changed;
  Progress progress;
  bool finished = false;

  void add(int64_t done, int64_t fetched, int files) {
    const std::lock_guard lock(mutex);
    progress.done_bytes = static_cast<uint64_t>(static_cast<int64_t>(progress.done_bytes) + done);
    progress.fetched_bytes = static_cast<uint64_t>(static_cast<int64_t>(progress.fetched_bytes) + fetched);
    progress.done_files += files;
  }
};

// Fetches one file; used by one thread.
class FileFetch {
 public:
  FileFetch(const HubOptions& options, const Repository& repository, const RemoteFile& file, Tally& tally,
            const std::atomic<bool>& stop)
      : options_(options),
        repository_(repository),
        file_(file),
        places_(places_of(repository)),
        tally_(tally),
        stop_(stop) {}

  void run(HttpClient& client) {
    const fs::path blob = places_.blobs / file_.etag;
    const Descriptor lock = lock_blob();
    if (!is_file(blob)) {
      const fs::path part = places_.blobs / (file_.etag + ".incomplete");
      fetch(client, part);
      if (stop_) return;
      std::error_code error;
      fs::rename(part, blob, error);
      if (error) fail(exit_code_of(error.value()), "{}: cannot rename into place: {}", blob.string(), error.message());
    } else {
      count(file_.size_bytes);
    }
    link(blob);
    tally_.add(0, 0, 1);
  }

 private:
  // Held until the file is there; another program that fetches it, huggingface_hub too, is waited for.
  Descriptor lock_blob() {
    const fs::path path = places_.locks / (file_.etag + ".lock");
    Descriptor lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (lock.get() < 0) fail(exit_code_of(errno), "{}: cannot create: {}", path.string(), std::strerror(errno));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
    log::info("{}: another program is fetching it; waiting", file_.path);
    while (::flock(lock.get(), LOCK_EX) != 0) {
      if (errno != EINTR) fail(ExitCode::kIo, "{}: cannot lock: {}", path.string(), std::strerror(errno));
    }
    return lock;
  }

  void count(uint64_t done) {
    tally_.add(static_cast<int64_t>(done) - static_cast<int64_t>(counted_), 0, 0);
    counted_ = done;
  }

  void truncate(int fd, const fs::path& part) {
    if (::ftruncate(fd, 0) != 0) fail(ExitCode::kIo, "{}: cannot truncate: {}", part.string(), std::strerror(errno));
    count(0);
  }

  // Requests from where the file ends, until it has its size and its hash.
  void fetch(HttpClient& client, const fs::path& part) {
    const Descriptor out(::open(part.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    if (out.get() < 0) fail(exit_code_of(errno), "{}: cannot create: {}", part.string(), std::strerror(errno));
    Patience patience(options_);
    for (int wrong = 0; !stop_;) {
      uint64_t have = size_of(part);
      if (have > file_.size_bytes) truncate(out.get(), part), have = 0;
      count(have);
      if (have < file_.size_bytes) {
        request(client, out.get(), part, have, patience);
      } else if (has_hash(MappedFile(part).bytes(), file_.etag)) {
        if (::fsync(out.get()) != 0) fail(ExitCode::kIo, "{}: cannot fsync: {}", part.string(), std::strerror(errno));
        return;
      } else {
        truncate(out.get(), part);
        if (++wrong == 3) {
          fail(ExitCode::kBadInput, "{} of {}: what the server sends does not have the hash {} (3 tries)", file_.path,
               repository_.id, file_.etag);
        }
        log::warning("{}: the hash is wrong; fetching it again", file_.path);
      }
    }
  }

  void request(HttpClient& client, int fd, const fs::path& part, uint64_t have, Patience& patience) {
    const std::string url = file_url(options_, repository_, file_);
    int write_error = 0;
    bool too_long = false;
    uint64_t taken = 0;
    const auto sink = [&](int status, std::string_view piece) {
      if (status != 200 && status != 206) return true;  // an error page
      if (status == 200 && have > 0) {                  // the whole file, although a part was asked for
        truncate(fd, part);
        have = 0;
      }
      too_long = have + taken + piece.size() > file_.size_bytes;
      if (too_long) return false;
      write_error = write_fully(fd, piece);
      if (write_error != 0 || stop_) return false;
      taken += piece.size();
      counted_ += piece.size();
      tally_.add(static_cast<int64_t>(piece.size()), static_cast<int64_t>(piece.size()), 0);
      return true;
    };
    HttpResponse response = client.send({url, options_.token, have, file_.size_bytes + (uint64_t{1} << 20)}, sink);
    if (write_error != 0) {
      fail(exit_code_of(write_error), "{}: cannot write: {}{}", part.string(), std::strerror(write_error),
           write_error == ENOSPC ? "; make space and run the same command again, it continues" : "");
    }
    if (stop_) return;
    check_commit(response);
    if (response.ok() && have + taken == file_.size_bytes) return;
    if (response.status == 416) truncate(fd, part);
    if (taken > 0) patience.renew();
    if (too_long) response.problem = fmt::format("{}: more than its {} bytes came", file_.path, file_.size_bytes);
    // A body that ends early or is longer than it should be is tried again, as a lost connection is.
    if (response.ok())
      response.problem = fmt::format("{}: {} of {} bytes came", file_.path, have + taken, file_.size_bytes);
    const bool can_retry =
        response.can_retry || response.status == 416 || response.status == 200 || response.status == 206;
    if (taken > 0 && response.problem.empty() && can_retry) return;
    if (!can_retry || !patience.wait(response)) {
      fail_request(options_, repository_.kind, repository_.id, url, response, repository_.revision);
    }
  }

  // The file must be of the commit whose list named it.
  void check_commit(const HttpResponse& response) const {
    const auto commit = response.headers.find("x-repo-commit");
    if (response.status < 400 && commit != response.headers.end() && commit->second != repository_.commit) {
      fail(ExitCode::kUnavailable, "{} of {}: the server answers with commit {} instead of {}", file_.path,
           repository_.id, commit->second.substr(0, 40), repository_.commit);
    }
  }

  // snapshots/<commit>/<path> -> ../../blobs/<etag>
  void link(const fs::path& blob) const {
    const fs::path path = safe_path(places_.snapshot, file_.path, true);
    make_folders(path.parent_path());
    std::error_code error;
    const fs::path target = blob.lexically_relative(path.parent_path());
    if (fs::is_symlink(path, error) && fs::read_symlink(path, error) == target) return;
    const fs::path temporary = temporary_beside(path);
    fs::create_symlink(target, temporary, error);
    if (!error) fs::rename(temporary, path, error);
    if (error)
      fail(exit_code_of(error.value()), "{}: cannot link to {}: {}", path.string(), target.string(), error.message());
  }

  const HubOptions& options_;
  const Repository& repository_;
  const RemoteFile& file_;
  const Places places_;
  Tally& tally_;
  const std::atomic<bool>& stop_;
  uint64_t counted_ = 0;
};

void check_space(const Places& places, uint64_t wanted) {
  std::error_code error;
  const fs::space_info space = fs::space(places.root, error);
  if (error || wanted == 0 || space.available >= wanted + kSpareBytes) return;
  fail(ExitCode::kIo, "{}: {} bytes are free and {} are to be fetched; make space, or set HF_HOME to another disk",
       places.root.string(), space.available, wanted);
}

// Unlike write_file_atomically with the permissions of the user's choice: caches are shared.
void write_ref(const fs::path& ref, const std::string& commit) {
  const fs::path temporary = temporary_beside(ref);
  const Descriptor out(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  int error = out.get() < 0 ? errno : write_fully(out.get(), commit);
  if (error == 0 && ::fsync(out.get()) != 0) error = errno;
  if (error == 0 && ::rename(temporary.c_str(), ref.c_str()) != 0) error = errno;
  if (error != 0) fail(exit_code_of(error), "{}: cannot write: {}", ref.string(), std::strerror(error));
}

// Each file once, whatever paths share its blob; the paths of the others are linked after.
std::vector<RemoteFile> distinct_blobs(const std::vector<RemoteFile>& files, std::vector<RemoteFile>& others) {
  std::set<std::string> seen;
  std::vector<RemoteFile> out;
  for (const RemoteFile& file : files) (seen.insert(file.etag).second ? out : others).push_back(file);
  return out;
}

// Runs `work(i)` for all i on several threads; the first error ends all and is thrown again.
void run_parallel(size_t count, int threads, std::atomic<bool>& stop,
                  const std::function<void(size_t, HttpClient&)>& work, const HttpLimits& limits) {
  std::atomic<size_t> next{0};
  std::exception_ptr first;
  std::mutex mutex;
  std::vector<std::thread> pool;
  for (size_t t = 0; t < std::min(count, static_cast<size_t>(std::max(1, threads))); ++t) {
    pool.emplace_back([&] {
      try {
        HttpClient client(limits);
        for (size_t i = next++; i < count && !stop; i = next++) work(i, client);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
        stop = true;
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
  if (first) std::rethrow_exception(first);
}

// Calls the report every second until the tally is finished.
std::thread start_reporting(Tally& tally, const ProgressReport& report) {
  return std::thread([&tally, &report, start = Clock::now()] {
    std::unique_lock lock(tally.mutex);
    for (bool last = false; !last;) {
      tally.changed.wait_for(lock, std::chrono::seconds(1), [&] { return tally.finished; });
      last = tally.finished;
      Progress now = tally.progress;
      now.seconds = std::chrono::duration<double>(Clock::now() - start).count();
      lock.unlock();
      report(now);
      lock.lock();
    }
  });
}

}  // namespace

uint64_t missing_bytes(const Repository& repository, const RemoteFile& file) {
  const Places places = places_of(repository);
  if (is_file(places.blobs / file.etag)) return 0;
  return file.size_bytes - std::min(file.size_bytes, size_of(places.blobs / (file.etag + ".incomplete")));
}

fs::path download(const HubOptions& options, const Repository& repository, const std::vector<RemoteFile>& files,
                  bool publish, const ProgressReport& report) {
  const Places places = places_of(repository);
  for (const fs::path& folder : {places.blobs, places.snapshot, places.locks}) make_folders(folder);
  std::vector<RemoteFile> others;
  const std::vector<RemoteFile> distinct = distinct_blobs(files, others);
  Tally tally;
  uint64_t wanted = 0;
  for (const RemoteFile& file : distinct) {
    tally.progress.total_bytes += file.size_bytes;
    wanted += missing_bytes(repository, file);
  }
  tally.progress.total_files = static_cast<int>(distinct.size());
  check_space(places, wanted);
  std::atomic<bool> stop{false};
  std::thread reporter = start_reporting(tally, report);
  std::exception_ptr problem;
  try {
    run_parallel(
        distinct.size(), options.parallel_files, stop,
        [&](size_t i, HttpClient& client) { FileFetch(options, repository, distinct[i], tally, stop).run(client); },
        options.limits);
  } catch (...) {
    problem = std::current_exception();
  }
  {
    const std::lock_guard lock(tally.mutex);
    tally.finished = true;
  }
  tally.changed.notify_all();
  reporter.join();
  if (problem) std::rethrow_exception(problem);
  HttpClient idle(options.limits);
  for (const RemoteFile& file : others) FileFetch(options, repository, file, tally, stop).run(idle);
  if (publish && repository.revision != repository.commit) {
    const fs::path ref = places.root / "refs" / repository.revision;
    make_folders(ref.parent_path());
    write_ref(ref, repository.commit);
  }
  return places.snapshot;
}

}  // namespace evalmpi::net

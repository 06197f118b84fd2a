#include "evalmpi/job/watchdog.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace evalmpi::job {
namespace {

constexpr int kPeriodsAtOnce = 4;
// A thread or process that works uses more of a core than those that only wait and look.
constexpr double kLeastShareOfThread = 0.01;
constexpr double kLeastShareOfProcess = 0.05;
constexpr int kStillTimeouts = 4;
constexpr int kStillOfLongest = 10;
// What one block of 512 bytes that was read counts for, beside a second of a core: 64 KiB a second are work.
constexpr double kSecondsOfBlock = kLeastShareOfProcess / 128;

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// Of a clock of a thread that has ended: 0.
double cpu_seconds(int clock) {
  std::timespec time{};
  if (::clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// CPU time of all threads, and what was read.
double process_work() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime) +
         kSecondsOfBlock * static_cast<double>(usage.ru_inblock);
}

int cpu_clock_of_this_thread() {
  clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
  ::pthread_getcpuclockid(::pthread_self(), &clock);
  return clock;
}

// Of which thread a sign of life speaks: of the one with the most.
std::pair<int, std::chrono::duration<double>> importance_of(Judged judged, std::chrono::duration<double> still) {
  switch (judged) {
    case Judged::kAlone:
    case Judged::kHelped: return {2, still};
    case Judged::kNever: return {1, -still};
    case Judged::kStrict: return {0, still};
  }
  return {0, still};
}

void say(const std::string& text) { (void)!::write(STDERR_FILENO, text.data(), text.size()); }

}  // namespace

void Heartbeat::enter(const char* phase, Judged judged) noexcept {
  phase_.store(phase, std::memory_order_relaxed);
  judged_.store(judged, std::memory_order_relaxed);
  chunk_.store(UINT64_MAX, std::memory_order_relaxed);
  beat();
}

void Heartbeat::set_chunk(uint64_t chunk) noexcept {
  chunk_.store(chunk, std::memory_order_relaxed);
  beat();
}

std::string describe(const ThreadSign& sign) {
  return fmt::format("in phase \"{}\", {}{}{}", sign.phase, sign.thread,
                     sign.chunk ? fmt::format(", chunk {}", *sign.chunk) : "",
                     sign.still_seconds >= 1 ? fmt::format(", without progress for {:.1f} s", sign.still_seconds) : "");
}

Watchdog::Watchdog(Options options) : options_(std::move(options)) {
  if (!options_.seconds_of_thread) options_.seconds_of_thread = cpu_seconds;
  if (!options_.seconds_of_process) options_.seconds_of_process = process_work;
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<Heartbeat> Watchdog::watch(std::string thread_name) {
  auto heartbeat = std::make_shared<Heartbeat>();
  const std::lock_guard lock(mutex_);
  Watched watched;
  watched.name = std::move(thread_name);
  watched.heartbeat = heartbeat;
  watched.cpu_clock = cpu_clock_of_this_thread();
  watched_.push_back(std::move(watched));
  return heartbeat;
}

std::shared_ptr<Heartbeat> heartbeat_of(Watchdog* watchdog, std::string thread_name) {
  return watchdog != nullptr ? watchdog->watch(std::move(thread_name)) : std::make_shared<Heartbeat>();
}

void Watchdog::set_name(std::string name) {
  const std::lock_guard lock(mutex_);
  name_ = std::move(name);
}

void Watchdog::set_ending(Ending ending) {
  const std::lock_guard lock(ending_mutex_);
  ending_ = std::move(ending);
}

void Watchdog::set_abort(Abort abort) {
  const std::lock_guard lock(abort_mutex_);
  abort_ = std::move(abort);
}

void Watchdog::start() {
  EVALMPI_CHECK(!thread_.joinable());
  if (options_.hang_timeout.count() > 0) thread_ = std::thread([this] { run(); });
}

bool Watchdog::is_hung(Watched& watched, const Heartbeat& heartbeat, Seconds passed) const {
  const Judged judged = heartbeat.judged_.load(std::memory_order_relaxed);
  const uint64_t steps = heartbeat.steps_->count.load(std::memory_order_relaxed);
  const char* phase = heartbeat.phase_.load(std::memory_order_relaxed);
  const double cpu = options_.seconds_of_thread(watched.cpu_clock), work = options_.seconds_of_process();
  watched.still += passed;
  watched.idle += passed;
  const bool has_beat = steps != watched.steps || phase != watched.phase;
  if (has_beat && phase == watched.phase) watched.longest_still = std::max(watched.longest_still, watched.still);
  if (phase != watched.phase) watched.longest_still = Seconds(0);
  const bool waits_for_others = heartbeat.steps_->waits.load(std::memory_order_relaxed) > 0;
  const bool has_worked =
      judged == Judged::kHelped
          ? waits_for_others || work - watched.process_work > kLeastShareOfProcess * watched.idle.count()
          : cpu - watched.cpu_seconds > kLeastShareOfThread * watched.idle.count();
  if (has_beat) watched.still = Seconds(0);
  if (has_beat || has_worked) {
    watched.idle = Seconds(0);
    watched.cpu_seconds = cpu;
    watched.process_work = work;
  }
  watched.steps = steps;
  watched.phase = phase;
  const Seconds limit = options_.hang_timeout;
  switch (judged) {
    case Judged::kNever: return false;
    case Judged::kStrict: return watched.still > limit;
    case Judged::kHelped: return watched.idle > limit;
    case Judged::kAlone:
      return watched.idle > limit ||
             watched.still > std::max(kStillTimeouts * limit, kStillOfLongest * watched.longest_still);
  }
  return false;
}

std::optional<std::string> Watchdog::check(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const Seconds passed = std::min<Seconds>(now - last_check_.value_or(now), kPeriodsAtOnce * options_.period);
  last_check_ = now;
  std::erase_if(watched_, [](const Watched& watched) { return watched.heartbeat.expired(); });
  for (Watched& watched : watched_) {
    const std::shared_ptr<Heartbeat> heartbeat = watched.heartbeat.lock();
    if (!heartbeat || !is_hung(watched, *heartbeat, passed)) continue;
    const uint64_t chunk = heartbeat->chunk_.load(std::memory_order_relaxed);
    const ThreadSign sign{watched.name, watched.phase, chunk == UINT64_MAX ? std::nullopt : std::optional(chunk),
                          watched.still.count()};
    return fmt::format("{}: {}: it hangs (--hang-timeout {})", name_, describe(sign),
                       Seconds(options_.hang_timeout).count());
  }
  return std::nullopt;
}

ThreadSign Watchdog::sign() {
  const std::lock_guard lock(mutex_);
  const Watched* telling = nullptr;
  std::shared_ptr<Heartbeat> heartbeat;
  std::pair<int, Seconds> most;
  for (auto watched = watched_.rbegin(); watched != watched_.rend(); ++watched) {  // the newest of equals
    const std::shared_ptr<Heartbeat> one = watched->heartbeat.lock();
    if (!one) continue;
    const auto importance = importance_of(one->judged_.load(std::memory_order_relaxed), watched->still);
    if (telling != nullptr && importance <= most) continue;
    telling = &*watched;
    heartbeat = one;
    most = importance;
  }
  if (telling == nullptr) return {"main", "start", std::nullopt, 0};
  const uint64_t chunk = heartbeat->chunk_.load(std::memory_order_relaxed);
  return {telling->name, heartbeat->phase_.load(std::memory_order_relaxed),
          chunk == UINT64_MAX ? std::nullopt : std::optional(chunk), telling->still.count()};
}

void Watchdog::end_job(const std::string& line, ExitCode code) {
  if (is_ending_.exchange(true)) {
    while (true) ::pause();
  }
  // Not through the log: the hung thread may hold its lock.
  say("evalmpi: error: " + line + "; the job ends now, what is finished is saved" +
      (code == ExitCode::kStoppedEarly ? ": start it again\n" : "\n"));
  // Both may hang like the rest; each gets its own thread and a time. The note should be there before the ranks go.
  const auto started = Clock::now();
  const auto has_noted = std::make_shared<std::atomic<bool>>(false);
  std::thread([this, line, code, has_noted] {
    const std::lock_guard lock(ending_mutex_);
    if (ending_) ending_(code, line);
    *has_noted = true;
  }).detach();
  while (!*has_noted && Clock::now() - started < options_.grace / 2) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  Abort abort;
  {
    const std::lock_guard lock(abort_mutex_);
    abort = abort_;
  }
  if (abort) {
    std::thread(abort, code).detach();
    std::this_thread::sleep_for(options_.grace / 2);
  }
  ::_exit(static_cast<int>(code));
}

void Watchdog::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, options_.period, [this] { return done_; })) {
    lock.unlock();
    if (const std::optional<std::string> line = check(Clock::now())) end_job(*line);
    lock.lock();
  }
}

}  // namespace evalmpi::job

#include "evalmpi/job/watchdog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "evalmpi/base/error.h"

namespace evalmpi::job {

void Heartbeat::enter(const char* phase, std::chrono::milliseconds limit) noexcept {
  phase_.store(phase, std::memory_order_relaxed);
  limit_ms_.store(limit.count(), std::memory_order_relaxed);
  chunk_.store(UINT64_MAX, std::memory_order_relaxed);
  beat();
}

void Heartbeat::set_chunk(uint64_t chunk) noexcept {
  chunk_.store(chunk, std::memory_order_relaxed);
  beat();
}

Watchdog::Watchdog(Options options) : options_(std::move(options)) {}

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
  watched_.push_back({std::move(thread_name), heartbeat, 0, std::nullopt});
  return heartbeat;
}

void Watchdog::start() {
  EVALMPI_CHECK(!thread_.joinable());
  thread_ = std::thread([this] { run(); });
}

std::optional<std::string> Watchdog::check(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  for (Watched& watched : watched_) {
    const Heartbeat& heartbeat = *watched.heartbeat;
    const uint64_t count = heartbeat.count_.load(std::memory_order_relaxed);
    if (!watched.since || count != watched.last_count) {
      watched.since = now;
      watched.last_count = count;
      continue;
    }
    const std::chrono::milliseconds limit(heartbeat.limit_ms_.load(std::memory_order_relaxed));
    if (limit.count() == 0 || now - *watched.since <= limit) continue;
    const uint64_t chunk = heartbeat.chunk_.load(std::memory_order_relaxed);
    const std::chrono::duration<double> silent = now - *watched.since;
    return fmt::format("rank {} on {}: no progress for {:.1f} s in phase \"{}\", thread {}{} (limit {:.1f} s)",
                       options_.rank, options_.host, silent.count(), heartbeat.phase_.load(std::memory_order_relaxed),
                       watched.name, chunk == UINT64_MAX ? "" : fmt::format(", chunk {}", chunk),
                       static_cast<double>(limit.count()) / 1000);
  }
  return std::nullopt;
}

void Watchdog::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, options_.period, [this] { return done_; })) {
    lock.unlock();
    const std::optional<std::string> line = check(Clock::now());
    if (line) {
      // Not through the log: the hung thread may hold its lock.
      const std::string text = "evalmpi: error: " + *line + "\n";
      (void)!::write(STDERR_FILENO, text.data(), text.size());
      // The abort may hang like the rest; it gets its own thread and a time.
      if (options_.abort) std::thread([this, line] { options_.abort(*line); }).detach();
      std::this_thread::sleep_for(options_.abort ? options_.grace : std::chrono::milliseconds(0));
      ::_exit(static_cast<int>(ExitCode::kInternal));
    }
    lock.lock();
  }
}

}  // namespace evalmpi::job

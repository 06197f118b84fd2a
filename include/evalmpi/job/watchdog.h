#pragma once

// Ends a process that makes no progress and says where it stood. The thread makes no MPI calls, so a hang inside MPI,
// a driver or a file system does not stop it.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace evalmpi::job {

// One thread's sign of life. Written by its owner, read by the watchdog.
class Heartbeat {
 public:
  // From now on `phase` (a string literal) is what runs, and two beats may be at most `limit` apart; zero: any time
  // (waiting for work is no hang). Counts as a beat.
  void enter(const char* phase, std::chrono::milliseconds limit) noexcept;
  void beat() noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  // The chunk in hand, for the message. Counts as a beat.
  void set_chunk(uint64_t chunk) noexcept;

 private:
  friend class Watchdog;
  std::atomic<const char*> phase_{"start"};
  std::atomic<int64_t> limit_ms_{0};
  std::atomic<uint64_t> chunk_{UINT64_MAX};
  std::atomic<uint64_t> count_{0};
};

class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;
  struct Options {
    int rank = 0;
    std::string host;
    // Called with the line that was logged; MPI_Abort fits. If it has not ended the process after grace, _exit(70)
    // does.
    std::function<void(const std::string& line)> abort;
    std::chrono::milliseconds grace{5'000};
    std::chrono::milliseconds period{500};
  };

  explicit Watchdog(Options options);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

  // A heartbeat that is watched as long as the watchdog lives.
  std::shared_ptr<Heartbeat> watch(std::string thread_name);

  // Begins to watch in an own thread.
  void start();

  // What the thread does at each period: the line about the first heartbeat whose phase is over its limit at `now`, if
  // any.
  std::optional<std::string> check(Clock::time_point now);

 private:
  struct Watched {
    std::string name;
    std::shared_ptr<Heartbeat> heartbeat;
    uint64_t last_count = 0;
    std::optional<Clock::time_point> since;
  };
  void run();

  Options options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Watched> watched_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace evalmpi::job

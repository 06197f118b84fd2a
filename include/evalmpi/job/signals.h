#pragma once

// What the batch system and the user ask for by signals. A handler sets a flag and does nothing else.

#include <atomic>

namespace evalmpi::job {

enum class Stop : int {
  kNone = 0,
  kAfterChunk = 1,  // USR1, or the time is up: finish the chunk in hand, take no other, save
  kNow = 2,         // TERM, INT: drop the chunk in hand, save (mpirun leaves 0.97 s)
};

// Readable and settable from any thread. A request is never weakened.
class StopFlag {
 public:
  Stop requested() const noexcept { return static_cast<Stop>(request_.load(std::memory_order_relaxed)); }
  bool now() const noexcept { return requested() == Stop::kNow; }
  explicit operator bool() const noexcept { return requested() != Stop::kNone; }

  // signal: its number, 0 when none caused it.
  void request(Stop stop, int signal = 0) noexcept;

  // The first signal that asked, 0 if none did.
  int signal() const noexcept { return signal_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int> request_{0};
  std::atomic<int> signal_{0};
  static_assert(std::atomic<int>::is_always_lock_free, "set in signal handlers");
};

// While it lives, USR1, TERM and INT go to `flag` and PIPE is ignored (a closed peer is an error of write()). A second
// INT ends the process at once, as users expect of Ctrl-C. The former handlers return at destruction. One at a time.
class SignalHandlers {
 public:
  explicit SignalHandlers(StopFlag& flag);
  SignalHandlers(const SignalHandlers&) = delete;
  SignalHandlers& operator=(const SignalHandlers&) = delete;
  ~SignalHandlers();
};

}  // namespace evalmpi::job

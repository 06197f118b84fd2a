#pragma once

// Steps that a thread has done: the cheapest sign of life. comm counts its verbs, of which a layer has two, and says
// when one waits for other members; job's watchdog reads.

#include <atomic>
#include <cstdint>
#include <memory>

namespace evalmpi {

struct ThreadSteps {
  std::atomic<uint64_t> count{0};
  std::atomic<int> waits{0};  // for others, one within another
};

// The present thread's; they stay readable after the thread's end.
inline const std::shared_ptr<ThreadSteps>& steps_of_this_thread() {
  static thread_local const auto steps = std::make_shared<ThreadSteps>();
  return steps;
}

inline void count_step() { steps_of_this_thread()->count.fetch_add(1, std::memory_order_relaxed); }

// While it lives, the present thread waits for others. Its end is a step.
class WaitForOthers {
 public:
  WaitForOthers() : steps_(*steps_of_this_thread()) { steps_.waits.fetch_add(1, std::memory_order_relaxed); }
  WaitForOthers(const WaitForOthers&) = delete;
  WaitForOthers& operator=(const WaitForOthers&) = delete;
  ~WaitForOthers() {
    steps_.count.fetch_add(1, std::memory_order_relaxed);
    steps_.waits.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  ThreadSteps& steps_;
};

}  // namespace evalmpi

#pragma once

// Steps that a thread has done: the cheapest sign of life. Whoever computes counts (comm counts its collectives, of
// which a layer has two); job's watchdog reads.

#include <atomic>
#include <cstdint>
#include <memory>

namespace evalmpi {

using StepCount = std::atomic<uint64_t>;

// The present thread's count; it stays readable after the thread's end.
inline const std::shared_ptr<StepCount>& steps_of_this_thread() {
  static thread_local const auto steps = std::make_shared<StepCount>(0);
  return steps;
}

inline void count_step() { steps_of_this_thread()->fetch_add(1, std::memory_order_relaxed); }

}  // namespace evalmpi

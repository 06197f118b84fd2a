#pragma once

// Clocks for benchmarks. Other work on a machine only ever makes a measurement slower, so the best of several counts.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

#include "evalmpi/model/transformer.h"

namespace evalmpi::bench {

inline double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The least time of one call, of at least three calls and as many as fit the budget; one call before that is not
// counted.
template <class F>
double best_seconds(double budget_seconds, const F& call) {
  call();
  double best = std::numeric_limits<double>::infinity();
  const double end = now_seconds() + budget_seconds;
  for (int calls = 0; calls < 3 || now_seconds() < end; ++calls) {
    const double start = now_seconds();
    call();
    best = std::min(best, now_seconds() - start);
  }
  return best;
}

// Calls per second of `threads` threads that call side by side, each without gradients and on one ATen thread; the best
// of three windows. call(thread) is called once by each thread before that.
template <class F>
double best_calls_per_second(int threads, double window_seconds, const F& call) {
  constexpr int kWindows = 3;
  std::atomic<int> ready{0};
  std::vector<std::vector<double>> ends(static_cast<size_t>(threads));  // of each call
  std::atomic<double> start{0};
  std::vector<std::thread> team;
  for (int thread = 0; thread < threads; ++thread) {
    team.emplace_back([&, thread] {
      const model::InferenceThread inference;
      call(thread);
      if (++ready == threads) start = now_seconds();
      while (start == 0) std::this_thread::yield();
      do {
        call(thread);
        ends[static_cast<size_t>(thread)].push_back(now_seconds() - start);
      } while (ends[static_cast<size_t>(thread)].back() < kWindows * window_seconds);
    });
  }
  for (std::thread& member : team) member.join();
  double best = 0;
  for (int window = 0; window < kWindows; ++window) {
    double rate = 0;
    for (const std::vector<double>& of_thread : ends) {
      // From the last end before the window to the last end within it: whole calls only.
      const auto first = std::upper_bound(of_thread.begin(), of_thread.end(), window * window_seconds);
      const auto last = std::upper_bound(of_thread.begin(), of_thread.end(), (window + 1) * window_seconds);
      if (first == last) continue;
      const double begin = first == of_thread.begin() ? 0 : *(first - 1);
      rate += static_cast<double>(last - first) / (*(last - 1) - begin);
    }
    best = std::max(best, rate);
  }
  // Calls longer than a window fall into none: then over all.
  if (best == 0) {
    for (const std::vector<double>& of_thread : ends) best += static_cast<double>(of_thread.size()) / of_thread.back();
  }
  return best;
}

}  // namespace evalmpi::bench

#include "cpu/thread_team.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/linear.h"

namespace evalmpi::ops {
namespace {

// Kernels of a decoding step follow each other within microseconds: a helper looks this often before it sleeps.
constexpr int kSpins = 2000;

class ThreadTeam {
 public:
  explicit ThreadTeam(int threads) {
    for (int i = 1; i < threads; ++i) helpers_.emplace_back([this, i] { serve(i); });
  }
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;
  ~ThreadTeam() {
    post(nullptr);
    for (std::thread& helper : helpers_) helper.join();
  }

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Calls work(i) once for each i in [0, threads()), i = 0 on the caller.
  void run(const std::function<void(int)>& work) {
    failure_ = nullptr;
    unfinished_.store(static_cast<int>(helpers_.size()), std::memory_order_relaxed);
    post(&work);
    guarded(work, 0);
    wait([this] { return unfinished_.load(std::memory_order_acquire) == 0; }, finished_);
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }

 private:
  void post(const std::function<void(int)>* work) {
    {
      const std::lock_guard lock(mutex_);
      work_ = work;
      round_.fetch_add(1, std::memory_order_release);
    }
    posted_.notify_all();
  }

  template <class Ready>
  void wait(Ready ready, std::condition_variable& wake) {
    for (int i = 0; i < kSpins; ++i)
      if (ready()) return;
    std::unique_lock lock(mutex_);
    wake.wait(lock, ready);
  }

  void guarded(const std::function<void(int)>& work, int i) {
    try {
      work(i);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (failure_ == nullptr) failure_ = std::current_exception();
    }
  }

  void serve(int i) {
    for (uint64_t seen = 0;;) {
      wait([&] { return round_.load(std::memory_order_acquire) != seen; }, posted_);
      seen = round_.load(std::memory_order_acquire);
      if (work_ == nullptr) return;
      guarded(*work_, i);
      const std::lock_guard lock(mutex_);
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) finished_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable posted_, finished_;
  std::atomic<uint64_t> round_ = 0;
  std::atomic<int> unfinished_ = 0;
  const std::function<void(int)>* work_ = nullptr;
  std::exception_ptr failure_;
  std::vector<std::thread> helpers_;
};

thread_local std::unique_ptr<ThreadTeam> team;

struct FreeAligned {
  void operator()(float* p) const { ::operator delete[](p, std::align_val_t(64)); }
};

}  // namespace

void set_threads_per_lane(int threads) {
  EVALMPI_CHECK(threads >= 1);
  team = threads > 1 ? std::make_unique<ThreadTeam>(threads) : nullptr;
}

void in_parallel(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& work) {
  const int64_t ranges = team == nullptr ? 1 : std::clamp<int64_t>(count / grain, 1, team->threads());
  if (ranges == 1) return work(0, count);
  team->run([&](int i) {
    if (i < ranges) work(i * count / ranges, (i + 1) * count / ranges);
  });
}

float* thread_scratch(int64_t floats) {
  thread_local std::unique_ptr<float[], FreeAligned> buffer;
  thread_local int64_t capacity = 0;
  if (floats > capacity) {
    buffer.reset();
    buffer.reset(
        static_cast<float*>(::operator new[](static_cast<size_t>(floats) * sizeof(float), std::align_val_t(64))));
    capacity = floats;
  }
  return buffer.get();
}

}  // namespace evalmpi::ops

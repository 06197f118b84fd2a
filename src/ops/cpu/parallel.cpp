#include "cpu/parallel.h"

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
#include "evalmpi/ops/threads.h"

namespace evalmpi::ops {
namespace {

// Kernels of a decoding step follow each other within microseconds: a helper looks this often before it sleeps.
constexpr int kSpins = 4000;

// Set while this thread works on a range: its own calls are not shared further.
thread_local bool is_inside = false;

struct Job {
  const std::function<void(int64_t, int64_t)>& work;
  int64_t count, ranges;
  std::atomic<int64_t> next{0};  // the first range that nobody has begun
  std::atomic<int> helpers{0};   // inside the job; raised under the pool's mutex
  std::exception_ptr failure;    // under the pool's mutex
};

class HelperPool {
 public:
  HelperPool() = default;
  HelperPool(const HelperPool&) = delete;
  HelperPool& operator=(const HelperPool&) = delete;
  ~HelperPool() {
    {
      const std::lock_guard lock(mutex_);
      is_ending_ = true;
    }
    wake_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
  }

  int lent() const { return lent_.load(std::memory_order_relaxed); }

  void lend(int cores) {
    const std::lock_guard lock(mutex_);
    const int lent = lent_.fetch_add(cores) + cores;
    while (static_cast<int>(helpers_.size()) < lent) helpers_.emplace_back([this] { serve(); });
    if (!jobs_.empty()) wake_.notify_all();
  }

  void run(Job& job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(&job);
      posts_.fetch_add(1, std::memory_order_release);
      if (sleeping_ > 0) wake_.notify_all();
    }
    take_ranges(job);
    for (int i = 0; i < kSpins && job.helpers.load(std::memory_order_acquire) > 0; ++i) std::this_thread::yield();
    std::unique_lock lock(mutex_);
    std::erase(jobs_, &job);
    left_.wait(lock, [&] { return job.helpers.load(std::memory_order_acquire) == 0; });
    if (job.failure != nullptr) std::rethrow_exception(job.failure);
  }

 private:
  void take_ranges(Job& job) {
    is_inside = true;
    try {
      for (int64_t i = job.next++; i < job.ranges; i = job.next++) {
        job.work(i * job.count / job.ranges, (i + 1) * job.count / job.ranges);
      }
    } catch (...) {
      job.next = job.ranges;
      const std::lock_guard lock(mutex_);
      if (job.failure == nullptr) job.failure = std::current_exception();
    }
    is_inside = false;
  }

  // The job with the fewest helpers that has ranges left; null while all lent cores are busy. REQUIRES: the mutex.
  Job* choose() const {
    Job* best = nullptr;
    for (Job* job : jobs_) {
      if (job->next.load(std::memory_order_relaxed) >= job->ranges) continue;
      if (best == nullptr || job->helpers < best->helpers) best = job;
    }
    return busy_ < lent() ? best : nullptr;
  }

  void serve() {
    std::unique_lock lock(mutex_);
    while (!is_ending_) {
      Job* const job = choose();
      if (job == nullptr) {
        wait_for_post(lock);
        continue;
      }
      job->helpers.fetch_add(1);
      busy_ += 1;
      lock.unlock();
      take_ranges(*job);
      lock.lock();
      busy_ -= 1;
      if (job->helpers.fetch_sub(1, std::memory_order_release) == 1) left_.notify_all();
    }
  }

  void wait_for_post(std::unique_lock<std::mutex>& lock) {
    const uint64_t seen = posts_.load(std::memory_order_relaxed);
    if (lent() > 0) {
      lock.unlock();
      for (int i = 0; i < kSpins && posts_.load(std::memory_order_acquire) == seen; ++i) std::this_thread::yield();
      lock.lock();
    }
    sleeping_ += 1;
    wake_.wait(lock, [&] { return is_ending_ || choose() != nullptr; });
    sleeping_ -= 1;
  }

  std::mutex mutex_;
  std::condition_variable wake_, left_;
  std::atomic<int> lent_{0};
  std::atomic<uint64_t> posts_{0};
  int busy_ = 0;      // helpers inside jobs
  int sleeping_ = 0;  // helpers that need a notification
  bool is_ending_ = false;
  std::vector<Job*> jobs_;
  std::vector<std::thread> helpers_;
};

HelperPool& pool() {
  static HelperPool all;
  return all;
}

struct FreeAligned {
  void operator()(float* p) const { ::operator delete[](p, std::align_val_t(64)); }
};

}  // namespace

LentCores::LentCores(int cores) : cores_(cores) {
  EVALMPI_CHECK(cores >= 0);
  pool().lend(cores_);
}

LentCores::~LentCores() { pool().lend(-cores_); }

void in_parallel(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& work) {
  const int64_t ranges = is_inside ? 1 : std::clamp<int64_t>(count / grain, 1, 1 + pool().lent());
  if (ranges == 1) return work(0, count);
  Job job{.work = work, .count = count, .ranges = ranges, .failure = nullptr};
  pool().run(job);
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

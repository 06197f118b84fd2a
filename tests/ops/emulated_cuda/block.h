#pragma once

// Stands in for src/ops/cuda/nvidia/block.h where kernels run on a CPU: their source is compiled as plain C++, the
// threads of a block are coroutines of one thread, and the warp instructions are written out from PTX's description of
// them (PTX ISA, "mma.m16n8k16", "ldmatrix"). It proves a kernel's arithmetic and indices, and that no thread waits for
// one that has gone; not its speed, and not what the memory model of a GPU adds.

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <ucontext.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(...)
#define EVALMPI_UNROLL

struct alignas(16) float4 {
  float x, y, z, w;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

inline dim3 threadIdx, blockIdx;

namespace evalmpi::ops::cuda {

inline float4 shared_memory[(160 << 10) / sizeof(float4)];

// The block that runs.
class Block {
 public:
  static Block& running() { return *running_; }

  // Runs `kernel` as every block of the grid, one after the other.
  static void run_grid(dim3 grid, int threads, const std::function<void()>& kernel) {
    for (unsigned i = 0; i < grid.x * grid.y * grid.z; ++i) {
      blockIdx = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
      // What an earlier block left behind must not help this one.
      std::memset(shared_memory, 0xff, sizeof shared_memory);
      Block block(threads, kernel);
      block.run();
    }
  }

  void meet_block() { meet(meetings_.front(), static_cast<int>(threads_.size())); }
  void meet_warp() { meet(meetings_[1 + threadIdx.x / 32], 32); }

  // What each thread shows the others of its warp.
  std::array<unsigned char, 64>& shown(int thread) { return shown_[thread]; }

 private:
  struct Meeting {
    int arrived = 0, rounds = 0;
  };
  // Entered once through its context; after that switches are jumps, which need no system call.
  struct Thread {
    ucontext_t context;
    void* place[5];
    bool has_begun = false, is_done = false;
  };
  static constexpr size_t kStackBytes = 64 << 10;

  Block(int threads, const std::function<void()>& kernel)
      : kernel_(kernel), threads_(threads), meetings_(1 + threads / 32), shown_(threads) {}

  // Waits until `count` threads have come.
  void meet(Meeting& meeting, int count) {
    const int round = meeting.rounds;
    if (++meeting.arrived == count) {
      meeting.arrived = 0;
      ++meeting.rounds;
      return;
    }
    while (meeting.rounds == round) yield();
  }
  static void begin() {
    running_->kernel_();
    running_->threads_[threadIdx.x].is_done = true;
    jump(running_->scheduler_);
  }

  // Apart, since a function may not jump to a place of its own.
  [[noreturn, gnu::noinline]] static void jump(void** place) { __builtin_longjmp(place, 1); }

  [[gnu::noinline]] void yield() {
    const unsigned me = threadIdx.x;
    if (__builtin_setjmp(threads_[me].place) == 0) jump(scheduler_);
    threadIdx.x = me;
  }

  [[gnu::noinline]] void resume(unsigned thread) {
    threadIdx = {thread, 0, 0};
    if (__builtin_setjmp(scheduler_) != 0) return;
    Thread& next = threads_[threadIdx.x];
    if (next.has_begun) jump(next.place);
    next.has_begun = true;
    setcontext(&next.context);
  }

  void run() {
    static std::vector<std::unique_ptr<char[]>> stacks;
    running_ = this;
    while (stacks.size() < threads_.size()) stacks.push_back(std::make_unique<char[]>(kStackBytes));
    for (size_t i = 0; i < threads_.size(); ++i) {
      getcontext(&threads_[i].context);
      threads_[i].context.uc_stack.ss_sp = stacks[i].get();
      threads_[i].context.uc_stack.ss_size = kStackBytes;
      threads_[i].context.uc_link = nullptr;
      makecontext(&threads_[i].context, &Block::begin, 0);
    }
    constexpr int kMaxRounds = 1'000'000;
    for (int round = 0; round < kMaxRounds; ++round) {
      bool any = false;
      for (unsigned i = 0; i < threads_.size(); ++i) {
        if (threads_[i].is_done) continue;
        any = true;
        resume(i);
      }
      if (!any) return;
    }
    throw std::runtime_error("the threads of a block wait for each other for ever");
  }

  inline static Block* running_ = nullptr;
  const std::function<void()>& kernel_;
  void* scheduler_[5];
  std::vector<Thread> threads_;
  std::vector<Meeting> meetings_;
  std::vector<std::array<unsigned char, 64>> shown_;
};

// What thread `other` of the warp shows while this one shows `mine`.
template <class Value, class Use>
void exchange_in_warp(const Value& mine, Use use) {
  static_assert(sizeof(Value) <= 64);
  Block& block = Block::running();
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32 * 32;
  std::memcpy(block.shown(thread).data(), &mine, sizeof mine);
  block.meet_warp();
  use([&](int lane) {
    Value value;
    std::memcpy(&value, block.shown(warp + lane).data(), sizeof value);
    return value;
  });
  block.meet_warp();
}

inline void copy_16_bytes(void* shared, const void* global, bool is_there) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 || reinterpret_cast<uintptr_t>(global) % 16 != 0) {
    throw std::runtime_error("a copy of 16 bytes is not aligned");
  }
  if (is_there) {
    std::memcpy(shared, global, 16);
  } else {
    std::memset(shared, 0, 16);
  }
}
inline void close_copy_group() {}
template <int kOpen>
void wait_for_copies() {}

inline void load_transposed(uint32_t (&tile)[4], const void* row) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  exchange_in_warp(row, [&](auto row_of) {
    for (int m = 0; m < 4; ++m) {
      uint16_t low, high;
      std::memcpy(&low, static_cast<const uint16_t*>(row_of(m * 8 + 2 * (lane % 4))) + lane / 4, 2);
      std::memcpy(&high, static_cast<const uint16_t*>(row_of(m * 8 + 2 * (lane % 4) + 1)) + lane / 4, 2);
      tile[m] = low | static_cast<uint32_t>(high) << 16;
    }
  });
}

template <class T>
float element(uint32_t pair, int which) {
  return static_cast<float>(T(static_cast<uint16_t>(pair >> (16 * which)), T::from_bits()));
}

template <class T>
void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Operands {
    uint32_t a[4], b[2];
  };
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  Operands mine;
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  exchange_in_warp(mine, [&](auto of) {
    for (int e = 0; e < 4; ++e) {
      const int row = g + 8 * (e / 2), column = 2 * t + e % 2;
      for (int k = 0; k < 16; ++k) {
        const float left = element<T>(of(row % 8 * 4 + k % 8 / 2).a[row / 8 + 2 * (k / 8)], k % 2);
        const float right = element<T>(of(column * 4 + k % 8 / 2).b[k / 8], k % 2);
        c[e] += left * right;
      }
    }
  });
}

}  // namespace evalmpi::ops::cuda

inline void __syncthreads() { evalmpi::ops::cuda::Block::running().meet_block(); }

inline float __shfl_xor_sync(uint32_t, float value, int lane_mask) {
  float result = 0.0f;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  evalmpi::ops::cuda::exchange_in_warp(value, [&](auto of) { result = of(lane ^ lane_mask); });
  return result;
}

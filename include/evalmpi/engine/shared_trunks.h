#pragma once

// What the lanes of one place hold of trunks, so that each trunk is computed once a place: a lane copies the keys and
// values that another lane has, and waits for those that another lane is computing (lending it its core meanwhile).

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <vector>

#include "evalmpi/ops/attention.h"

namespace evalmpi::engine {

// Safe from all lanes' threads. A lane's stages: claim() or follow(), changes its path 0, publish(); withdraw() when
// that failed. Between publish() and the next claim the first positions of its path 0, the trunk, stay as they are.
class SharedTrunks {
 public:
  // Where a trunk's first `tokens` positions are to be had; lane -1: nowhere.
  struct Source {
    int lane = -1;
    int64_t tokens = 0;
  };

  SharedTrunks() = default;
  SharedTrunks(const SharedTrunks&) = delete;
  SharedTrunks& operator=(const SharedTrunks&) = delete;

  // A new lane's number.
  int join();

  // The lane announces that it will compute `trunk`, of which it has the first `held_tokens` itself. Waits while
  // another lane computes most of what is missing. The source is locked against changes until copy() or release().
  Source claim(int lane, std::span<const int32_t> trunk, int64_t held_tokens);

  // The same on the other ranks of a tensor-parallel group, whose first rank has claimed: locks the source that was
  // found there. False when this rank's lane holds something else by now.
  bool follow(int lane, std::span<const int32_t> trunk, const Source& source);

  // Copies the source's positions [0, tokens) of path 0 to path 0 of `store`, and releases the source, also when that
  // fails.
  void copy(const Source& source, ops::KeyValueStore& store);
  void release(const Source& source);

  // Path 0 of the lane's store holds the trunk that it claimed. `store` stays where it is until the next claim.
  void publish(int lane, const ops::KeyValueStore& store);
  // It holds nothing. Returns when nobody copies from it any more.
  void withdraw(int lane);

 private:
  enum class State { kNothing, kComputing, kHeld };
  struct Slot {
    State state = State::kNothing;
    std::vector<int32_t> trunk;
    const ops::KeyValueStore* store = nullptr;
    int readers = 0;
  };

  bool is_worth_waiting(int lane, std::span<const int32_t> trunk, int64_t held_tokens) const;
  Source best_source(int lane, std::span<const int32_t> trunk, int64_t held_tokens) const;
  void begin(std::unique_lock<std::mutex>& lock, int lane, std::span<const int32_t> trunk);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Slot> slots_;  // grows at its end while lanes refer to theirs
};

}  // namespace evalmpi::engine

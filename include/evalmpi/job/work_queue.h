#pragma once

// The chunks of a run that nobody has yet, on rank 0. Moves opaque payloads; safe from any thread.

#include <condition_variable>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "evalmpi/base/hash.h"

namespace evalmpi::job {

struct WorkItem {
  std::string payload;
  Hash128 prefix;    // what a worker that did one item of this group keeps for the next; Hash128{} = nothing shared
  int64_t cost = 0;  // any unit that grows with the time it takes (tokens)
};

struct TakenItem {
  uint64_t id = 0;
  std::string payload;
  Hash128 prefix;
  int64_t cost = 0;
};

// Order of hand-out: an item of the prefix that the worker holds; else of the costliest group that no worker is on
// (items without prefix count as groups of their own); else the costliest item of all, so that the tail is short.
// Within a group costliest first, then by id. O(log n) each.
class WorkQueue {
 public:
  // Ids are consecutive from the number of items added before; returns the first. REQUIRES: not closed.
  uint64_t add(std::vector<WorkItem> items);

  // No further add().
  void close();

  // Nothing more is handed out; what is in flight may still be completed.
  void stop();

  // The next item for `worker` (any small number), which holds `held` (Hash128{}: nothing). nullopt when there is
  // none now, when stopped, or when the item's cost is above max_cost: it stays, and *is_too_costly is set.
  std::optional<TakenItem> take(int worker, const Hash128& held, int64_t max_cost = std::numeric_limits<int64_t>::max(),
                                bool* is_too_costly = nullptr);

  // The item's record is in. False if it was completed before (harmless).
  // FAILS: kInternal for an item that was not taken.
  bool complete(uint64_t id);

  bool is_completed(uint64_t id) const;

  // The worker will not deliver this item; it is not handed out again in this attempt.
  void abandon(uint64_t id);

  // Whether take() can never give anything again.
  bool is_drained() const;
  // Whether, besides, nothing is in flight.
  bool is_finished() const;
  // Blocks until is_finished(): all items complete, or stopped and the rest delivered or abandoned.
  void wait_until_finished() const;

  struct Counts {
    uint64_t added = 0;
    uint64_t waiting = 0;
    uint64_t in_flight = 0;
    uint64_t completed = 0;
    uint64_t abandoned = 0;
    int64_t cost_added = 0;
    int64_t cost_completed = 0;
  };
  Counts counts() const;

 private:
  struct Key {  // costliest first, then lowest id
    int64_t cost;
    uint64_t id;
    bool operator<(const Key& other) const { return cost != other.cost ? cost > other.cost : id < other.id; }
  };
  struct Group {
    std::map<Key, std::string> items;  // payloads
    int64_t total_cost = 0;
    int workers = 0;              // that took their last item here
    std::optional<Key> idle_key;  // its entries in the two indexes below
    std::optional<Key> largest_key;
  };
  struct Entry {
    enum class State : uint8_t { kWaiting, kInFlight, kCompleted, kAbandoned } state;
    int64_t cost;
  };

  void reindex(const Hash128& prefix, Group& group);
  std::optional<Hash128> choose(const Hash128& held) const;
  void move_worker(int worker, const Hash128& prefix);
  bool is_drained_locked() const;
  bool is_finished_locked() const;

  mutable std::mutex mutex_;
  mutable std::condition_variable finished_;
  std::unordered_map<Hash128, Group> groups_;
  std::map<Key, Hash128> idle_groups_;    // non-empty groups without a worker, by total cost
  std::map<Key, Hash128> largest_items_;  // non-empty groups, by their costliest item
  std::unordered_map<int, Hash128> worker_group_;
  std::vector<Entry> entries_;
  Counts counts_;
  bool closed_ = false;
  bool stopped_ = false;
};

}  // namespace evalmpi::job

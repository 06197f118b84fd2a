#pragma once

// The chunks of a run that nobody has yet, on rank 0. Moves opaque payloads; safe from any thread.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "evalmpi/base/hash.h"

namespace evalmpi::job {

struct WorkItem {
  std::string payload;
  Hash128 prefix;    // what a worker that did one item of this group keeps for the next; Hash128{} = nothing shared
  int64_t cost = 0;  // any unit that grows with the time it takes (tokens)
  int64_t prefix_cost = 0;                         // of it, what a replica that holds the prefix need not do again
  std::function<std::string()> make_payload = {};  // instead of `payload`: called once, when the item is handed out
  bool is_checked = false;  // once complete it is handed out a second time, as an item of its own
};

struct TakenItem {
  uint64_t id = 0;
  std::string payload;
  Hash128 prefix;
  int64_t cost = 0;                // without the prefix's where the worker's replica holds it
  std::optional<uint64_t> checks;  // the item that this one repeats
};

// Order of hand-out, by group (the items of one prefix; items without prefix are groups of their own):
//   1. the group whose prefix the worker holds;
//   2. of the groups that no worker is on, those that no second worker could help with (see 4), costliest first: they
//      are one piece, and a large piece at the end leaves the others idle; then the costliest of the rest;
//   3. a group that another worker of its replica is on: the prefix is there already;
//   4. the group where help is worth most: a worker that joins computes the prefix again, so it joins only while its
//      share of what is left there, left / (workers + 1), is at least half the prefix's cost (less would end later than
//      if the others went on alone). Otherwise it gets nothing.
//   5. an item that is_checked and complete, again: to another replica than the one that did it where there are
//   several,
//      else to another worker where there are several.
// Within a group costliest first, then by id, so that the tail is short. O(log n + workers of the replica) each, and in
// 5. O(such items).
class WorkQueue {
 public:
  // Which replica each worker belongs to; without it each is a replica of its own. Call it before the first take().
  void set_replicas(std::vector<int> replica_of_worker);

  // Ids are consecutive from the number of items added before; returns the first. REQUIRES: not closed.
  uint64_t add(std::vector<WorkItem> items);

  // No further add().
  void close();

  // Nothing more is handed out; what is in flight may still be completed.
  void stop();

  // The next item for `worker` (any small number), which holds `held` (Hash128{}: nothing). nullopt when there is
  // none for it now, when stopped, or when the item's cost is above max_cost: it stays, and *is_too_costly is set.
  // What is left to the workers of a group is theirs: each must ask again with that prefix, or release().
  std::optional<TakenItem> take(int worker, const Hash128& held, int64_t max_cost = std::numeric_limits<int64_t>::max(),
                                bool* is_too_costly = nullptr);

  // The worker will not ask again; its group is free for others.
  void release(int worker);

  // The item's record is in. False if it was completed before (harmless).
  // FAILS: kInternal for an item that was not taken.
  bool complete(uint64_t id);

  bool is_completed(uint64_t id) const;
  // Whether the item, not yet complete, will be handed out a second time.
  bool is_checked(uint64_t id) const;
  // The item that this one repeats.
  std::optional<uint64_t> checks(uint64_t id) const;

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
  using IdleKey = std::pair<bool, Key>;  // whether a second worker could help; those that none could come first
  struct Payload {
    std::string bytes;
    std::function<std::string()> make;
  };
  struct Group {
    std::map<Key, Payload> items;
    int64_t own_cost = 0;  // of its items, without the prefix
    int64_t prefix_cost = 0;
    int workers = 0;                  // that took their last item here
    std::optional<IdleKey> idle_key;  // its entries in the two indexes below
    std::optional<Key> help_key;
  };
  struct Entry {
    enum class State : uint8_t { kWaiting, kInFlight, kCompleted, kAbandoned } state;
    int64_t cost;
  };

  // An item to be handed out twice: what it holds, and who did it first.
  struct Check {
    std::string payload;
    int worker = -1;
  };
  struct SecondLook {
    uint64_t id;
    uint64_t first;  // the item it repeats
    Check check;
  };
  void reindex(const Hash128& prefix, Group& group);
  bool may_check(int worker, int first_worker) const;
  std::optional<TakenItem> take_second_look(int worker, int64_t max_cost, bool* is_too_costly);
  std::optional<TakenItem> take_first(int worker, const Hash128& held, int64_t max_cost, bool* is_too_costly,
                                      Payload& payload);
  std::optional<Hash128> choose(int worker, const Hash128& held) const;
  const std::map<Hash128, int>& groups_near(int worker) const;
  void move_worker(int worker, const Hash128& prefix);
  bool is_drained_locked() const;
  bool is_finished_locked() const;

  mutable std::mutex mutex_;
  mutable std::condition_variable finished_;
  std::unordered_map<Hash128, Group> groups_;
  std::map<IdleKey, Hash128> idle_groups_;  // non-empty groups without a worker, by total cost
  std::map<Key, Hash128> groups_to_help_;   // non-empty groups with workers, by the worth of one more
  std::unordered_map<int, Hash128> worker_group_;
  std::vector<int> replica_of_worker_;
  std::unordered_map<int, std::map<Hash128, int>>
      groups_of_replica_;  // with the number of its workers that are on them
  std::vector<Entry> entries_;
  std::unordered_map<uint64_t, Check> to_check_;  // items that are not complete yet
  std::vector<SecondLook> second_looks_;          // waiting
  std::unordered_map<uint64_t, uint64_t> first_of_;
  Counts counts_;
  bool closed_ = false;
  bool stopped_ = false;
};

}  // namespace evalmpi::job

#include "evalmpi/job/work_queue.h"

#include <algorithm>
#include <utility>

#include "evalmpi/base/error.h"

namespace evalmpi::job {
namespace {

constexpr Hash128 kNoPrefix{};

}  // namespace

void WorkQueue::set_replicas(std::vector<int> replica_of_worker) {
  const std::lock_guard lock(mutex_);
  EVALMPI_CHECK(worker_group_.empty());
  replica_of_worker_ = std::move(replica_of_worker);
}

uint64_t WorkQueue::add(std::vector<WorkItem> items) {
  const std::lock_guard lock(mutex_);
  EVALMPI_CHECK(!closed_);
  const uint64_t first = entries_.size();
  std::unordered_map<Hash128, Group*> touched;
  for (WorkItem& item : items) {
    EVALMPI_CHECK(item.prefix_cost >= 0 && item.cost >= item.prefix_cost);
    Group& group = groups_[item.prefix];
    const Key key{item.cost - item.prefix_cost, entries_.size()};
    group.items.emplace(key, Payload{std::move(item.payload), std::move(item.make_payload)});
    group.own_cost += key.cost;
    group.prefix_cost = std::max(group.prefix_cost, item.prefix_cost);
    touched[item.prefix] = &group;
    if (item.is_checked) to_check_.try_emplace(entries_.size());
    entries_.push_back({Entry::State::kWaiting, item.cost});
    counts_.cost_added += item.cost;
  }
  counts_.added += items.size();
  counts_.waiting += items.size();
  for (const auto& [prefix, group] : touched) reindex(prefix, *group);
  return first;
}

void WorkQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  finished_.notify_all();
}

void WorkQueue::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  finished_.notify_all();
}

// Brings the group's entries in both indexes up to date with its items and workers.
void WorkQueue::reindex(const Hash128& prefix, Group& group) {
  if (group.idle_key) idle_groups_.erase(*std::exchange(group.idle_key, std::nullopt));
  if (group.help_key) groups_to_help_.erase(*std::exchange(group.help_key, std::nullopt));
  if (group.items.empty()) return;
  const Key first = group.items.begin()->first;
  if (prefix == kNoPrefix) {
    group.idle_key = IdleKey{false, first};
  } else if (group.workers == 0) {
    const bool could_be_helped = group.own_cost >= group.prefix_cost;
    group.idle_key = IdleKey{could_be_helped, {group.own_cost + group.prefix_cost, first.id}};
  } else if (const int64_t worth = group.own_cost / (group.workers + 1) - group.prefix_cost / 2; worth >= 0) {
    group.help_key = Key{worth, first.id};
  }
  if (group.idle_key) idle_groups_.emplace(*group.idle_key, prefix);
  if (group.help_key) groups_to_help_.emplace(*group.help_key, prefix);
}

const std::map<Hash128, int>& WorkQueue::groups_near(int worker) const {
  static const std::map<Hash128, int> kNone;
  if (static_cast<size_t>(worker) >= replica_of_worker_.size()) return kNone;
  const auto near = groups_of_replica_.find(replica_of_worker_[static_cast<size_t>(worker)]);
  return near == groups_of_replica_.end() ? kNone : near->second;
}

std::optional<Hash128> WorkQueue::choose(int worker, const Hash128& held) const {
  if (held != kNoPrefix) {
    const auto group = groups_.find(held);
    if (group != groups_.end() && !group->second.items.empty()) return held;
  }
  if (!idle_groups_.empty()) return idle_groups_.begin()->second;
  std::optional<Hash128> near;
  int64_t most_left = -1;
  for (const auto& [prefix, workers] : groups_near(worker)) {
    const Group& group = groups_.at(prefix);
    if (group.items.empty() || group.own_cost / group.workers <= most_left) continue;
    most_left = group.own_cost / group.workers;
    near = prefix;
  }
  if (near) return near;
  if (!groups_to_help_.empty()) return groups_to_help_.begin()->second;
  return std::nullopt;
}

void WorkQueue::move_worker(int worker, const Hash128& prefix) {
  const auto [place, is_new] = worker_group_.try_emplace(worker, kNoPrefix);
  const Hash128 before = std::exchange(place->second, prefix);
  if (before == prefix) return;
  const bool has_replica = static_cast<size_t>(worker) < replica_of_worker_.size();
  std::map<Hash128, int>* near =
      has_replica ? &groups_of_replica_[replica_of_worker_[static_cast<size_t>(worker)]] : nullptr;
  if (before != kNoPrefix) {
    if (near != nullptr && --near->at(before) == 0) near->erase(before);
    const auto group = groups_.find(before);
    group->second.workers -= 1;
    reindex(before, group->second);
    if (group->second.items.empty() && group->second.workers == 0) groups_.erase(group);
  }
  if (prefix != kNoPrefix) {
    groups_[prefix].workers += 1;
    if (near != nullptr) (*near)[prefix] += 1;
  }
}

void WorkQueue::release(int worker) {
  const std::lock_guard lock(mutex_);
  move_worker(worker, kNoPrefix);
}

std::optional<TakenItem> WorkQueue::take(int worker, const Hash128& held, int64_t max_cost, bool* is_too_costly) {
  if (is_too_costly != nullptr) *is_too_costly = false;
  std::optional<TakenItem> taken;
  Payload payload;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return std::nullopt;
    taken = take_first(worker, held, max_cost, is_too_costly, payload);
    const bool is_refused = is_too_costly != nullptr && *is_too_costly;
    if (!taken) return is_refused ? std::nullopt : take_second_look(worker, max_cost, is_too_costly);
  }
  taken->payload = payload.make ? payload.make() : std::move(payload.bytes);
  if (const std::lock_guard lock(mutex_); to_check_.contains(taken->id))
    to_check_.at(taken->id) = {taken->payload, worker};
  return taken;
}

std::optional<TakenItem> WorkQueue::take_first(int worker, const Hash128& held, int64_t max_cost, bool* is_too_costly,
                                               Payload& payload) {
  const std::optional<Hash128> prefix = choose(worker, held);
  if (!prefix) return std::nullopt;
  const Key key = groups_.at(*prefix).items.begin()->first;
  const bool is_held = *prefix == held || groups_near(worker).contains(*prefix);
  const int64_t cost = is_held ? key.cost : entries_[key.id].cost;
  if (cost > max_cost) {
    if (is_too_costly != nullptr) *is_too_costly = true;
    return std::nullopt;
  }
  move_worker(worker, *prefix);
  Group& group = groups_.at(*prefix);
  payload = std::move(group.items.begin()->second);
  group.items.erase(group.items.begin());
  group.own_cost -= key.cost;
  reindex(*prefix, group);
  entries_[key.id].state = Entry::State::kInFlight;
  counts_.waiting -= 1;
  counts_.in_flight += 1;
  return TakenItem{key.id, {}, *prefix, cost, std::nullopt};
}

bool WorkQueue::may_check(int worker, int first_worker) const {
  const auto replica = [&](int of) { return replica_of_worker_[static_cast<size_t>(of)]; };
  const auto knows = [&](int of) { return static_cast<size_t>(of) < replica_of_worker_.size(); };
  if (!knows(worker) || !knows(first_worker)) return true;
  const bool are_several = std::any_of(replica_of_worker_.begin(), replica_of_worker_.end(),
                                       [&](int other) { return other != replica_of_worker_.front(); });
  if (are_several) return replica(worker) != replica(first_worker);
  return replica_of_worker_.size() < 2 || worker != first_worker;
}

std::optional<TakenItem> WorkQueue::take_second_look(int worker, int64_t max_cost, bool* is_too_costly) {
  const auto look = std::find_if(second_looks_.begin(), second_looks_.end(),
                                 [&](const SecondLook& other) { return may_check(worker, other.check.worker); });
  if (look == second_looks_.end()) return std::nullopt;
  Entry& entry = entries_[look->id];
  if (entry.cost > max_cost) {
    if (is_too_costly != nullptr) *is_too_costly = true;
    return std::nullopt;
  }
  move_worker(worker, kNoPrefix);
  entry.state = Entry::State::kInFlight;
  counts_.waiting -= 1;
  counts_.in_flight += 1;
  TakenItem taken{look->id, std::move(look->check.payload), kNoPrefix, entry.cost, look->first};
  second_looks_.erase(look);
  return taken;
}

bool WorkQueue::complete(uint64_t id) {
  const std::lock_guard lock(mutex_);
  EVALMPI_CHECK(id < entries_.size() && entries_[id].state != Entry::State::kWaiting);
  Entry& entry = entries_[id];
  if (entry.state == Entry::State::kCompleted) return false;
  (entry.state == Entry::State::kInFlight ? counts_.in_flight : counts_.abandoned) -= 1;
  entry.state = Entry::State::kCompleted;
  counts_.completed += 1;
  counts_.cost_completed += entry.cost;
  if (const auto check = to_check_.find(id); check != to_check_.end()) {
    const int64_t cost = entry.cost;
    second_looks_.push_back({entries_.size(), id, std::move(check->second)});
    first_of_[entries_.size()] = id;
    to_check_.erase(check);
    entries_.push_back({Entry::State::kWaiting, cost});
    counts_.added += 1;
    counts_.waiting += 1;
    counts_.cost_added += cost;
  }
  if (is_finished_locked()) finished_.notify_all();
  return true;
}

void WorkQueue::abandon(uint64_t id) {
  const std::lock_guard lock(mutex_);
  EVALMPI_CHECK(id < entries_.size() && entries_[id].state != Entry::State::kWaiting);
  if (entries_[id].state != Entry::State::kInFlight) return;
  entries_[id].state = Entry::State::kAbandoned;
  counts_.in_flight -= 1;
  counts_.abandoned += 1;
  to_check_.erase(id);
  if (is_finished_locked()) finished_.notify_all();
}

bool WorkQueue::is_completed(uint64_t id) const {
  const std::lock_guard lock(mutex_);
  EVALMPI_CHECK(id < entries_.size());
  return entries_[id].state == Entry::State::kCompleted;
}

bool WorkQueue::is_checked(uint64_t id) const {
  const std::lock_guard lock(mutex_);
  return to_check_.contains(id);
}

std::optional<uint64_t> WorkQueue::checks(uint64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = first_of_.find(id);
  return found == first_of_.end() ? std::nullopt : std::optional(found->second);
}

bool WorkQueue::is_drained_locked() const { return stopped_ || (closed_ && counts_.waiting == 0 && to_check_.empty()); }
bool WorkQueue::is_finished_locked() const { return is_drained_locked() && counts_.in_flight == 0; }

bool WorkQueue::is_drained() const {
  const std::lock_guard lock(mutex_);
  return is_drained_locked();
}

bool WorkQueue::is_finished() const {
  const std::lock_guard lock(mutex_);
  return is_finished_locked();
}

void WorkQueue::wait_until_finished() const {
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [this] { return is_finished_locked(); });
}

WorkQueue::Counts WorkQueue::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace evalmpi::job

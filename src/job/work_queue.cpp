#include "evalmpi/job/work_queue.h"

#include <utility>

#include "evalmpi/base/error.h"

namespace evalmpi::job {
namespace {

constexpr Hash128 kNoPrefix{};

}  // namespace

uint64_t WorkQueue::add(std::vector<WorkItem> items) {
  const std::lock_guard lock(mutex_);
  EVALMPI_CHECK(!closed_);
  const uint64_t first = entries_.size();
  std::unordered_map<Hash128, Group*> touched;
  for (WorkItem& item : items) {
    EVALMPI_CHECK(item.cost >= 0);
    Group& group = groups_[item.prefix];
    group.items.emplace(Key{item.cost, entries_.size()}, std::move(item.payload));
    group.total_cost += item.cost;
    touched[item.prefix] = &group;
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
  if (group.idle_key) idle_groups_.erase(*group.idle_key);
  if (group.largest_key) largest_items_.erase(*group.largest_key);
  group.idle_key.reset();
  group.largest_key.reset();
  if (group.items.empty()) return;
  const Key largest = group.items.begin()->first;
  group.largest_key = largest;
  largest_items_.emplace(largest, prefix);
  if (prefix == kNoPrefix) {
    group.idle_key = largest;
  } else if (group.workers == 0) {
    group.idle_key = Key{group.total_cost, largest.id};
  }
  if (group.idle_key) idle_groups_.emplace(*group.idle_key, prefix);
}

std::optional<Hash128> WorkQueue::choose(const Hash128& held) const {
  if (held != kNoPrefix) {
    const auto group = groups_.find(held);
    if (group != groups_.end() && !group->second.items.empty()) return held;
  }
  if (!idle_groups_.empty()) return idle_groups_.begin()->second;
  if (!largest_items_.empty()) return largest_items_.begin()->second;
  return std::nullopt;
}

void WorkQueue::move_worker(int worker, const Hash128& prefix) {
  const auto [place, is_new] = worker_group_.try_emplace(worker, kNoPrefix);
  const Hash128 before = std::exchange(place->second, prefix);
  if (before == prefix) return;
  if (before != kNoPrefix) {
    const auto group = groups_.find(before);
    group->second.workers -= 1;
    reindex(before, group->second);
    if (group->second.items.empty() && group->second.workers == 0) groups_.erase(group);
  }
  if (prefix != kNoPrefix) groups_[prefix].workers += 1;
}

std::optional<TakenItem> WorkQueue::take(int worker, const Hash128& held, int64_t max_cost, bool* is_too_costly) {
  const std::lock_guard lock(mutex_);
  if (is_too_costly != nullptr) *is_too_costly = false;
  if (stopped_) return std::nullopt;
  const std::optional<Hash128> prefix = choose(held);
  if (!prefix) return std::nullopt;
  if (groups_.at(*prefix).items.begin()->first.cost > max_cost) {
    if (is_too_costly != nullptr) *is_too_costly = true;
    return std::nullopt;
  }
  move_worker(worker, *prefix);
  Group& group = groups_.at(*prefix);
  const auto first = group.items.begin();
  TakenItem taken{first->first.id, std::move(first->second), *prefix, first->first.cost};
  group.items.erase(first);
  group.total_cost -= taken.cost;
  reindex(*prefix, group);
  entries_[taken.id].state = Entry::State::kInFlight;
  counts_.waiting -= 1;
  counts_.in_flight += 1;
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
  if (is_finished_locked()) finished_.notify_all();
}

bool WorkQueue::is_completed(uint64_t id) const {
  const std::lock_guard lock(mutex_);
  EVALMPI_CHECK(id < entries_.size());
  return entries_[id].state == Entry::State::kCompleted;
}

bool WorkQueue::is_drained_locked() const { return stopped_ || (closed_ && counts_.waiting == 0); }
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

#include "evalmpi/engine/shared_trunks.h"

#include <algorithm>
#include <optional>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/threads.h"

namespace evalmpi::engine {
namespace {

int64_t shared_tokens(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

int SharedTrunks::join() {
  const std::lock_guard lock(mutex_);
  slots_.emplace_back();
  return static_cast<int>(slots_.size()) - 1;
}

SharedTrunks::Source SharedTrunks::best_source(int lane, std::span<const int32_t> trunk, int64_t held_tokens) const {
  Source best{-1, held_tokens};
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (static_cast<int>(i) == lane || slots_[i].state != State::kHeld) continue;
    const int64_t tokens = shared_tokens(slots_[i].trunk, trunk);
    if (tokens > best.tokens) best = {static_cast<int>(i), tokens};
  }
  return best;
}

// A lane's trunk takes as long as it has tokens: to wait pays when at least half of them would have to be computed
// here.
bool SharedTrunks::is_worth_waiting(int lane, std::span<const int32_t> trunk, int64_t held_tokens) const {
  const int64_t at_hand = best_source(lane, trunk, held_tokens).tokens;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (static_cast<int>(i) == lane || slots_[i].state != State::kComputing) continue;
    const int64_t gain = shared_tokens(slots_[i].trunk, trunk) - at_hand;
    if (gain > 0 && gain >= static_cast<int64_t>(slots_[i].trunk.size()) / 2) return true;
  }
  return false;
}

// Nobody may be reading what is about to change.
void SharedTrunks::begin(std::unique_lock<std::mutex>& lock, int lane, std::span<const int32_t> trunk) {
  changed_.wait(lock, [&] { return slots_[lane].readers == 0; });
  slots_[lane].state = State::kComputing;
  slots_[lane].trunk.assign(trunk.begin(), trunk.end());
}

SharedTrunks::Source SharedTrunks::claim(int lane, std::span<const int32_t> trunk, int64_t held_tokens) {
  std::unique_lock lock(mutex_);
  std::optional<ops::LentCores> lent;
  // The readers of this lane's own trunk come first: once they are gone, nothing may happen between looking and
  // beginning.
  while (slots_[lane].readers > 0 || is_worth_waiting(lane, trunk, held_tokens)) {
    if (!lent) lent.emplace(1);
    changed_.wait(lock);
  }
  const Source source = best_source(lane, trunk, held_tokens);
  if (source.lane >= 0) slots_[source.lane].readers += 1;
  begin(lock, lane, trunk);
  return source;
}

bool SharedTrunks::follow(int lane, std::span<const int32_t> trunk, const Source& source) {
  std::unique_lock lock(mutex_);
  bool has_it = false;
  if (source.lane >= 0) {
    const Slot& slot = slots_.at(source.lane);
    const auto matches = [&] { return shared_tokens(slot.trunk, trunk) >= source.tokens; };
    changed_.wait(lock, [&] { return slot.state != State::kComputing || !matches(); });
    has_it = slot.state == State::kHeld && matches();
    if (has_it) slots_[source.lane].readers += 1;
  }
  begin(lock, lane, trunk);
  return has_it;
}

void SharedTrunks::copy(const Source& source, ops::KeyValueStore& store) {
  const ops::KeyValueStore* from = nullptr;
  {
    const std::lock_guard lock(mutex_);
    from = slots_.at(source.lane).store;
  }
  try {
    store.copy_from(*from, 0, 0, source.tokens);
  } catch (...) {
    release(source);
    throw;
  }
  release(source);
}

void SharedTrunks::release(const Source& source) {
  const std::lock_guard lock(mutex_);
  EVALMPI_CHECK(slots_.at(source.lane).readers > 0);
  slots_[source.lane].readers -= 1;
  changed_.notify_all();
}

void SharedTrunks::publish(int lane, const ops::KeyValueStore& store) {
  const std::lock_guard lock(mutex_);
  slots_[lane].store = &store;
  slots_[lane].state = State::kHeld;
  changed_.notify_all();
}

void SharedTrunks::withdraw(int lane) {
  std::unique_lock lock(mutex_);
  slots_[lane].state = State::kNothing;
  slots_[lane].trunk.clear();
  changed_.notify_all();
  changed_.wait(lock, [&] { return slots_[lane].readers == 0; });
}

}  // namespace evalmpi::engine

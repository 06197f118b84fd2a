#include "answers.h"

#include <algorithm>
#include <chrono>

namespace evalmpi::eval {

void AnswerTable::add(const std::string& log_name, const store::LogPosition& position,
                      const engine::ChunkRecord& record, const Hash128& current_class) {
  const std::lock_guard lock(mutex_);
  const auto [log, is_new] = log_index_.try_emplace(log_name, static_cast<int32_t>(log_names_.size()));
  if (is_new) log_names_.push_back(log_name);
  AnswerPlace place{log->second, records_++, intern_class(record.numerics_class), position};
  const bool is_current = record.numerics_class == current_class;
  bool any_task_done = false;
  const auto take = [&](const Hash128& key) {
    const auto [known, inserted] = places_.try_emplace(key, place);
    if (!inserted && is_current && classes_[known->second.numerics_class] != current_class) known->second = place;
    const auto waiting = expected_.find(key);
    if (waiting == expected_.end()) return;
    for (const int task : waiting->second) any_task_done |= --missing_[task] == 0;
    expected_.erase(waiting);
  };
  for (const engine::ScoreResult& score : record.scores) take(score.key);
  for (const engine::GenerateResult& generation : record.generations) take(generation.key);
  if (any_task_done) arrived_.notify_all();
}

int AnswerTable::intern_class(const Hash128& numerics_class) {
  const auto found = std::find(classes_.begin(), classes_.end(), numerics_class);
  if (found == classes_.end()) {
    classes_.push_back(numerics_class);
    return static_cast<int>(classes_.size()) - 1;
  }
  return static_cast<int>(found - classes_.begin());
}

int AnswerTable::class_index(const Hash128& numerics_class) {
  const std::lock_guard lock(mutex_);
  return intern_class(numerics_class);
}

void AnswerTable::name_class(const Hash128& numerics_class, const std::string& description) {
  const std::lock_guard lock(mutex_);
  class_names_[numerics_class] = description;
}

bool AnswerTable::knows(const Hash128& key, const std::optional<Hash128>& only) const {
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(key);
  return found != places_.end() && (!only || classes_[found->second.numerics_class] == *only);
}

std::optional<AnswerPlace> AnswerTable::find(const Hash128& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(key);
  return found == places_.end() ? std::nullopt : std::optional(found->second);
}

void AnswerTable::expect(int task, const std::vector<Hash128>& keys) {
  const std::lock_guard lock(mutex_);
  missing_[task] += static_cast<int64_t>(keys.size());
  for (const Hash128& key : keys) expected_[key].push_back(task);
}

bool AnswerTable::wait_for(int task, const std::function<void()>& meanwhile) {
  std::unique_lock lock(mutex_);
  while (!arrived_.wait_for(lock, std::chrono::seconds(1), [&] { return given_up_ || missing_[task] == 0; })) {
    lock.unlock();
    meanwhile();
    lock.lock();
  }
  return missing_[task] == 0;
}

void AnswerTable::give_up() {
  const std::lock_guard lock(mutex_);
  given_up_ = true;
  arrived_.notify_all();
}

int64_t AnswerTable::missing(int task) const {
  const std::lock_guard lock(mutex_);
  const auto found = missing_.find(task);
  return found == missing_.end() ? 0 : found->second;
}

int64_t AnswerTable::computed_tokens() const {
  const std::lock_guard lock(mutex_);
  return computed_tokens_;
}

void AnswerTable::count_computed(int64_t tokens) {
  const std::lock_guard lock(mutex_);
  computed_tokens_ += tokens;
}

std::vector<std::string> AnswerTable::log_names() const {
  const std::lock_guard lock(mutex_);
  return log_names_;
}

std::vector<std::string> AnswerTable::class_names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const Hash128& numerics_class : classes_) {
    const auto found = class_names_.find(numerics_class);
    names.push_back(found == class_names_.end() ? numerics_class.hex() : found->second);
  }
  return names;
}

}  // namespace evalmpi::eval

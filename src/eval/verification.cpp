#include "verification.h"

#include <cmath>

#include "evalmpi/base/error.h"

namespace evalmpi::eval {
namespace {

// The bytes of one answer, without the times it took.
std::string bytes_of(const engine::ScoreResult& score) {
  engine::ChunkRecord alone;
  alone.scores.push_back(score);
  return engine::encode(alone);
}

std::string bytes_of(engine::GenerateResult generation) {
  generation.timing = {};
  engine::ChunkRecord alone;
  alone.generations.push_back(std::move(generation));
  return engine::encode(alone);
}

template <class Result>
const Result* first_difference(const std::vector<Result>& first, const std::vector<Result>& second) {
  for (size_t i = 0; i < first.size(); ++i) {
    if (i >= second.size() || bytes_of(first[i]) != bytes_of(second[i])) return &first[i];
  }
  return second.size() > first.size() ? &second[first.size()] : nullptr;
}

}  // namespace

bool Verification::chooses_next() {
  const std::lock_guard lock(mutex_);
  const double before = std::ceil(static_cast<double>(seen_) * fraction_);
  seen_ += 1;
  const bool is_chosen = std::ceil(static_cast<double>(seen_) * fraction_) > before;
  counts_.chosen += is_chosen ? 1 : 0;
  return is_chosen;
}

void Verification::keep(uint64_t item, const std::string& where, const engine::ChunkRecord& record) {
  const std::lock_guard lock(mutex_);
  firsts_.try_emplace(item, First{where, record});
}

void Verification::compare(uint64_t first_item, const std::string& where, const engine::ChunkRecord& record) {
  const std::lock_guard lock(mutex_);
  const auto found = firsts_.find(first_item);
  EVALMPI_CHECK(found != firsts_.end());
  const First first = std::move(found->second);
  firsts_.erase(found);
  if (first.record.numerics_class != record.numerics_class) {
    counts_.not_comparable += 1;
    return;
  }
  const engine::ScoreResult* score = first_difference(first.record.scores, record.scores);
  const engine::GenerateResult* generation = first_difference(first.record.generations, record.generations);
  if (score != nullptr || generation != nullptr) {
    fail(ExitCode::kUnavailable,
         "chunk {}: {} and {} hold different bits for request {}, computed from the same weights and tokens; a "
         "processor, memory or a file of one of their hosts (named in the logs' first lines) is damaged: start again "
         "in another output folder, without the one at fault",
         first_item, first.where, where, (score != nullptr ? score->key : generation->key).hex());
  }
  counts_.compared += 1;
}

Verification::Counts Verification::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace evalmpi::eval

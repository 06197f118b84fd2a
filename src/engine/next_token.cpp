#include "next_token.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/head.h"
#include "philox.h"

namespace evalmpi::engine {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

void forbid_repeated_ngrams(std::span<float> logits_V, std::span<const int32_t> sequence, size_t n) {
  if (sequence.size() + 1 < n) return;
  const auto last = sequence.last(n - 1);
  for (size_t begin = 0; begin + n <= sequence.size(); ++begin) {
    const auto earlier = sequence.subspan(begin, n);
    if (std::equal(last.begin(), last.end(), earlier.begin())) logits_V[earlier.back()] = kForbidden;
  }
}

struct Candidate {
  int32_t id;
  float logit;
  double weight;  // exp(logit - largest logit)
};

void keep_top_k(std::vector<Candidate>& candidates, size_t k) {
  if (k >= candidates.size()) return;
  std::vector<float> logits;
  logits.reserve(candidates.size());
  for (const Candidate& candidate : candidates) logits.push_back(candidate.logit);
  std::nth_element(logits.begin(), logits.begin() + static_cast<int64_t>(k) - 1, logits.end(), std::greater<>());
  const float least = logits[k - 1];
  std::erase_if(candidates, [&](const Candidate& candidate) { return candidate.logit < least; });
}

double total_weight(const std::vector<Candidate>& candidates) {
  double total = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  return total;
}

// Drops the least probable as long as their sum is at most 1 - top_p; the most probable one stays.
void keep_top_p(std::vector<Candidate>& candidates, float top_p) {
  const double removable =
      static_cast<double>(static_cast<float>(1.0 - static_cast<double>(top_p))) * total_weight(candidates);
  // What is below the average of all that may fall together falls without sorting.
  const double surely = removable / static_cast<double>(candidates.size());
  std::vector<Candidate> uncertain;
  double removed = 0;
  for (const Candidate& candidate : candidates) {
    if (candidate.weight <= surely) {
      removed += candidate.weight;
    } else {
      uncertain.push_back(candidate);
    }
  }
  if (uncertain.empty()) {  // all are equal
    uncertain = candidates;
    removed = 0;
  }
  std::sort(uncertain.begin(), uncertain.end(),
            [](const Candidate& a, const Candidate& b) { return std::pair(a.logit, a.id) < std::pair(b.logit, b.id); });
  size_t first_kept = 0;
  while (first_kept + 1 < uncertain.size() && removed + uncertain[first_kept].weight <= removable) {
    removed += uncertain[first_kept++].weight;
  }
  uncertain.erase(uncertain.begin(), uncertain.begin() + static_cast<int64_t>(first_kept));
  std::sort(uncertain.begin(), uncertain.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  candidates = std::move(uncertain);
}

int32_t draw(const Distribution& distribution, double uniform_number) {
  double sum = 0;
  for (size_t i = 0; i < distribution.ids.size(); ++i) {
    sum += distribution.probabilities[i];
    if (uniform_number < sum) return distribution.ids[i];
  }
  // The sum may be an ulp below 1; the last id that can be drawn at all takes what is left.
  for (size_t i = distribution.ids.size(); i-- > 0;) {
    if (distribution.probabilities[i] > 0) return distribution.ids[i];
  }
  return distribution.ids.back();
}

}  // namespace

int32_t argmax(std::span<const float> values) {
  constexpr size_t kLanes = 16;
  float largest_of_lane[kLanes];
  std::fill_n(largest_of_lane, kLanes, kForbidden);
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      largest_of_lane[lane] = value > largest_of_lane[lane] ? value : largest_of_lane[lane];
    }
  }
  float largest = *std::max_element(largest_of_lane, largest_of_lane + kLanes);
  for (; i < values.size(); ++i) largest = std::max(largest, values[i]);
  return static_cast<int32_t>(std::find(values.begin(), values.end(), largest) - values.begin());
}

Distribution sampling_distribution(std::span<const float> logits_V, const GenerationSettings& settings) {
  std::vector<Candidate> candidates;
  candidates.reserve(logits_V.size());
  for (size_t id = 0; id < logits_V.size(); ++id) {
    candidates.push_back({static_cast<int32_t>(id), logits_V[id] / settings.temperature, 0});
  }
  if (settings.top_k > 0) keep_top_k(candidates, static_cast<size_t>(settings.top_k));
  float largest = kForbidden;
  for (const Candidate& candidate : candidates) largest = std::max(largest, candidate.logit);
  if (!std::isfinite(largest)) {
    fail(ExitCode::kBadInput, "no token can be drawn: the largest logit is {}, after temperature {}", largest,
         settings.temperature);
  }
  for (Candidate& candidate : candidates)
    candidate.weight = static_cast<double>(ops::exp_exact(candidate.logit - largest));
  if (settings.top_p < 1) keep_top_p(candidates, settings.top_p);
  // The largest weight is 1, so a probability relative to the largest one is the weight itself.
  if (settings.min_p > 0)
    std::erase_if(candidates, [&](const Candidate& c) { return c.weight < static_cast<double>(settings.min_p); });
  const double total = total_weight(candidates);
  Distribution distribution;
  for (const Candidate& candidate : candidates) {
    distribution.ids.push_back(candidate.id);
    distribution.probabilities.push_back(candidate.weight / total);
  }
  return distribution;
}

bool needs_logits(const GenerationSettings& settings) {
  return settings.is_sampling || settings.repetition_penalty != 1 || settings.no_repeat_ngram_size > 0;
}

void TokenChooser::penalise_repetition(std::span<float> logits_V, std::span<const int32_t> sequence) {
  is_seen_V_.resize(logits_V.size());
  for (; looked_at_ < sequence.size(); ++looked_at_) {
    const int32_t id = sequence[looked_at_];
    if (!is_seen_V_[id]) seen_.push_back(id);
    is_seen_V_[id] = true;
  }
  const float penalty = settings_->repetition_penalty;
  for (const int32_t id : seen_) logits_V[id] = logits_V[id] < 0 ? logits_V[id] * penalty : logits_V[id] / penalty;
}

int32_t TokenChooser::choose(std::span<float> logits_V, std::span<const int32_t> sequence) {
  if (settings_->repetition_penalty != 1) penalise_repetition(logits_V, sequence);
  if (settings_->no_repeat_ngram_size > 0) {
    forbid_repeated_ngrams(logits_V, sequence, static_cast<size_t>(settings_->no_repeat_ngram_size));
  }
  if (!settings_->is_sampling) return argmax(logits_V);
  const std::array<uint32_t, 4> counter = {static_cast<uint32_t>(sequence.size()), static_cast<uint32_t>(key_.low),
                                           static_cast<uint32_t>(key_.low >> 32), static_cast<uint32_t>(key_.high)};
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(settings_->seed),
                                       static_cast<uint32_t>(settings_->seed >> 32)};
  return draw(sampling_distribution(logits_V, *settings_), uniform(philox(counter, key)));
}

}  // namespace evalmpi::engine

#pragma once

// The choice of the next token from logits.

#include <cstdint>
#include <span>
#include <vector>

#include "evalmpi/engine/request.h"

namespace evalmpi::engine {

// The index of the largest value, the lowest on ties. values: at least one, no NaN.
int32_t argmax(std::span<const float> values);

// What a token is drawn from.
struct Distribution {
  std::vector<int32_t> ids;           // ascending, at least one
  std::vector<double> probabilities;  // of each id; their sum is 1 within rounding
};

// The distribution that transformers draws from: temperature, top-k, top-p, min-p, in this order; then softmax. Equal
// logits at top-p's border: the lower ids fall first. Exponentials in float32 whose bits no libm decides, sums in
// double.
//   SOURCE: transformers 4.57, generation/utils.py: GenerationMixin._get_logits_processor, and TemperatureLogitsWarper,
//   TopKLogitsWarper, TopPLogitsWarper, MinPLogitsWarper in generation/logits_process.py with min_tokens_to_keep 1.
// FAILS: kBadInput when the largest logit is not finite.
Distribution sampling_distribution(std::span<const float> logits_V, const GenerationSettings& settings);

// Whether the choice of a token looks at more than which one is the most probable.
bool needs_logits(const GenerationSettings& settings);

// Chooses the tokens of one generation, one after the other.
class TokenChooser {
 public:
  // key: the request's, which names its repeat too. A draw is a function of settings.seed, key and position.
  TokenChooser(const GenerationSettings& settings, const Hash128& key) : settings_(&settings), key_(key) {}

  // The token after `sequence` (prompt and output so far; on every call a continuation of the last): the most probable
  // one, the lowest id on ties, or one drawn where settings.is_sampling. `logits_V` is scratch: the settings'
  // penalties are applied in it, in transformers' order (repetition penalty, then n-grams).
  //   SOURCE: transformers 4.57, generation/logits_process.py: RepetitionPenaltyLogitsProcessor divides positive and
  //   multiplies negative logits of every token seen; NoRepeatNGramLogitsProcessor forbids the tokens that would
  //   repeat an n-gram of the sequence.
  int32_t choose(std::span<float> logits_V, std::span<const int32_t> sequence);

 private:
  void penalise_repetition(std::span<float> logits_V, std::span<const int32_t> sequence);

  const GenerationSettings* settings_;
  Hash128 key_;
  std::vector<int32_t> seen_;  // each id once
  std::vector<bool> is_seen_V_;
  size_t looked_at_ = 0;  // tokens of the sequence that are in seen_
};

}  // namespace evalmpi::engine

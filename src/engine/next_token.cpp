#include "next_token.h"

#include <algorithm>
#include <limits>

namespace evalmpi::engine {
namespace {

void penalise_repetition(std::span<float> logits_V, std::span<const int32_t> sequence, float penalty) {
  std::vector<int32_t> seen(sequence.begin(), sequence.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (const int32_t id : seen) logits_V[id] = logits_V[id] < 0 ? logits_V[id] * penalty : logits_V[id] / penalty;
}

void forbid_repeated_ngrams(std::span<float> logits_V, std::span<const int32_t> sequence, size_t n) {
  if (sequence.size() + 1 < n) return;
  const auto last = sequence.last(n - 1);
  for (size_t begin = 0; begin + n <= sequence.size(); ++begin) {
    const auto earlier = sequence.subspan(begin, n);
    if (std::equal(last.begin(), last.end(), earlier.begin())) {
      logits_V[earlier.back()] = -std::numeric_limits<float>::infinity();
    }
  }
}

}  // namespace

int32_t choose_next_token(std::span<float> logits_V, std::span<const int32_t> sequence,
                          const GenerationSettings& settings) {
  if (settings.repetition_penalty != 1) penalise_repetition(logits_V, sequence, settings.repetition_penalty);
  if (settings.no_repeat_ngram_size > 0) {
    forbid_repeated_ngrams(logits_V, sequence, static_cast<size_t>(settings.no_repeat_ngram_size));
  }
  return static_cast<int32_t>(std::max_element(logits_V.begin(), logits_V.end()) - logits_V.begin());
}

}  // namespace evalmpi::engine

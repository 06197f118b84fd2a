#pragma once

// The edits of the translation edit rate: insertions, deletions, substitutions of words, and shifts of word runs.

#include <cstdint>
#include <string>
#include <vector>

namespace evalmpi::task {

// Edits that turn `hypothesis` into `reference`, found as sacrebleu 2.6 (after Tercom) does: shifts are taken greedily
// while they lower the edit distance, at most 1,000 are tried, and the distance looks at a band of 25 words beside the
// diagonal. An empty reference costs one deletion per word.
int64_t count_translation_edits(const std::vector<std::string>& hypothesis, const std::vector<std::string>& reference);

}  // namespace evalmpi::task

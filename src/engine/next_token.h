#pragma once

// The choice of the next token from logits.

#include <cstdint>
#include <span>
#include <vector>

#include "evalmpi/engine/request.h"

namespace evalmpi::engine {

// The most probable next token after `sequence` (prompt and output so far), the lowest id on ties. `logits_V` is
// scratch: the settings' penalties are applied in it, in transformers' order (repetition penalty, then n-grams).
//   SOURCE: transformers 4.57, generation/logits_process.py: RepetitionPenaltyLogitsProcessor divides positive and
//   multiplies negative logits of every token seen; NoRepeatNGramLogitsProcessor forbids the tokens that would repeat an
//   n-gram of the sequence.
int32_t choose_next_token(std::span<float> logits_V, std::span<const int32_t> sequence, const GenerationSettings& settings);

}  // namespace evalmpi::engine

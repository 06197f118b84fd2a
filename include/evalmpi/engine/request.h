#pragma once

// What the engine is asked and what it answers, in token ids. No text, no tasks.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evalmpi/base/hash.h"

namespace evalmpi::engine {

// Asks for the log-probabilities of the last `targets` tokens, each given all tokens before it. The last token is
// only a target: it is never an input of the model.
struct ScoreRequest {
  Hash128 key;
  std::vector<int32_t> tokens;  // at least 2
  int32_t targets = 0;          // 1 .. tokens.size() - 1
};

// Many of them, their tokens in one array that is kept as long as somebody needs it.
struct ScoreTable {
  struct Row {
    Hash128 key;
    int64_t begin = 0;    // its tokens are (*tokens)[begin .. begin + length)
    int32_t length = 0;   // at least 2
    int32_t targets = 0;  // 1 .. length - 1
  };
  std::shared_ptr<const std::vector<int32_t>> tokens;
  std::vector<Row> rows;

  std::span<const int32_t> tokens_of(const Row& row) const {
    return std::span(*tokens).subspan(static_cast<size_t>(row.begin), static_cast<size_t>(row.length));
  }
};

// Asks for a continuation of `prompt`.
struct GenerateRequest {
  Hash128 key;                  // repeats of one prompt differ in it
  std::vector<int32_t> prompt;  // at least 1
  int32_t max_new_tokens = 0;
};

// How the tokens of a generation are chosen; one per chunk.
struct GenerationSettings {
  std::vector<int32_t> eos_ids = {};  // a generation ends with the first of these (which is kept as its last token)
  float repetition_penalty = 1;       // transformers' RepetitionPenaltyLogitsProcessor, over prompt and output
  int32_t no_repeat_ngram_size = 0;   // transformers' NoRepeatNGramLogitsProcessor; 0: off
  bool is_sampling = false;  // tokens are drawn; else the most probable one is taken and what follows is not used
  float temperature = 1;     // above 0
  int32_t top_k = 0;         // 0: off
  float top_p = 1;           // 0 .. 1
  float min_p = 0;           // 0 .. 1
  uint64_t seed = 0;         // of the draws
  std::string stop = {};     // for the StopCriterion (engine/lane.h); not looked into here
};

struct ScoreResult {
  Hash128 key;
  std::vector<float> logprobs;     // one per target, natural log
  std::vector<uint8_t> is_argmax;  // 1 where the target was the most probable token
};

enum class FinishReason : uint8_t { kStop, kEndToken, kLength };

// How long a generation took on its lane; the only part of an answer that is another one every time.
struct GenerateTiming {
  float first_token_seconds = 0;  // from its admission to a slot
  float mean_gap_seconds = 0;     // between tokens; 0 with a single one
  float max_gap_seconds = 0;
};

struct GenerateResult {
  Hash128 key;
  std::vector<int32_t> tokens;  // without the prompt; may end with an end-of-text token
  FinishReason finish = FinishReason::kLength;
  GenerateTiming timing;
};

}  // namespace evalmpi::engine

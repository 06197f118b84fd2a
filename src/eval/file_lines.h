#pragma once

// The lines that come out: one for each line of the file, in its order. Their bytes depend on the line, the model and
// the settings alone: no times, no hosts, no random ids.
//
//   plain      {"line": 3, "id": .., "text": "..", "finish_reason": "stop"|"length", "prompt_tokens": 5,
//   "completion_tokens": 9}
//              several answers: "choices": [{"text", "finish_reason", "completion_tokens"}, ..] in place of these
//              refused: {"line", "id", "error": "why"}
//   OpenAI     as vllm run-batch writes it: {"id", "custom_id", "response": {"status_code", "request_id", "body"},
//   "error"};
//              ids say the line's number, "created" is 0
//   logprobs   {"line", "id", "logprob", "token_count", "is_greedy"}, in "continuations": [..] where the line has a
//   list;
//              of a whole text {"logprob", "token_count", "byte_count", "perplexity", "bits_per_byte"}, the latter by
//              token and in bits; byte_count and bits_per_byte are null for token ids
//
// With tokens: "token_ids" of an answer; "tokens", "token_ids" and "token_logprobs" of what was scored.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evalmpi/engine/request.h"
#include "evalmpi/text/tokenizer.h"
#include "prompt_file.h"

namespace evalmpi::eval {

struct Answer {
  std::string text;
  engine::FinishReason finish = engine::FinishReason::kLength;
  std::vector<int32_t> tokens;  // the end token included, where there is one
};

// answers: of the first prompt, then of the second, ..
std::string answer_line(const FileLine& line, const std::vector<Answer>& answers, int64_t prompt_tokens,
                        const std::string& model, bool with_tokens);

struct Score {
  std::vector<float> logprobs;   // natural, by token
  std::vector<int32_t> tokens;   // of each; empty unless they are to be shown
  bool is_greedy = true;         // each was the most probable one
  std::optional<int64_t> bytes;  // of a whole text
};

// scores: one, or one for each continuation.
std::string score_line(const FileLine& line, const std::vector<Score>& scores, const text::Tokenizer& tokenizer,
                       bool with_tokens);

std::string refused_line(const FileLine& line, const std::string& why);

}  // namespace evalmpi::eval

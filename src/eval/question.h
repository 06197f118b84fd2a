#pragma once

// A line's question in token ids.

#include <cstdint>
#include <string>

#include "encode.h"
#include "evalmpi/text/chat_template.h"
#include "prompt_file.h"
#include "workload.h"

namespace evalmpi::eval {

struct QuestionRules {
  const PromptEncoder* encoder = nullptr;
  const text::ChatTemplate* chat_template = nullptr;  // null: no line needs one
  bool wraps_prompts = false;                         // plain prompts are the user's message
  std::string system_instruction;                     // of conversations without one; empty: none
  TooLong too_long = TooLong::kSkip;
  FileJob job = FileJob::kGenerate;
  int64_t vocab = 0;
  std::string file;  // for messages
};

// New tokens at most, of lines without a number: vLLM and the OpenAI API say 16 for completions, and for chats what the
// positions leave, which is bounded here.
inline constexpr int32_t kPlainNewTokens = 256;
inline constexpr int32_t kCompletionNewTokens = 16;
inline constexpr int32_t kMostChatNewTokens = 4096;

// Adds the requests of the question, which is the document at `position`, or refuses it: a prompt beyond the model's
// positions with TooLong::kSkip, and a fault of an OpenAI line. Requests of a whole text are its windows; of
// continuations and of several prompts they have the index of these. New tokens are as many as wanted and the positions
// leave; with TooLong::kTruncate prompts are cut on the left so that all have room. A conversation is tokenised without
// special tokens, since its template writes them (transformers' apply_chat_template); token ids are taken as they are.
// FAILS: kBadInput naming file and line.
void encode_question(Encoded& encoded, int64_t position, const Question& question, const QuestionRules& rules);

}  // namespace evalmpi::eval

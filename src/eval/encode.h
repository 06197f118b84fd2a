#pragma once

// Text to token ids as lm-evaluation-harness's model `hf` does it for causal models (0.4.13, api/model.py and
// models/huggingface.py).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/text/tokenizer.h"

namespace evalmpi::eval {

struct EncodedPair {
  std::vector<int32_t> tokens;  // context and continuation, cut on the left to max_length + 1
  int32_t targets = 0;          // tokens of the continuation
};

// Const and safe from several threads.
class PromptEncoder {
 public:
  // rule: what --add-bos-token and --prefix-token-id say. max_length: positions of the model, or fewer. uniform_length:
  // positions up to which its computation does not depend on the length of the whole sequence
  // (ModelSpec::uniform_positions); longer prompts are refused (kBadInput).
  PromptEncoder(const text::Tokenizer& tokenizer, text::PromptRule rule, int64_t max_length, int64_t uniform_length)
      : tokenizer_(tokenizer), rule_(rule), max_length_(max_length), uniform_length_(uniform_length) {}

  // Trailing whitespace of the context moves to the continuation; both are encoded together and cut by the number of
  // tokens of the context alone. An empty context is the prefix token (BOS, else EOS).
  // FAILS: kBadInput when the continuation has no token of its own, or does not fit the model, or the context is empty
  // and the tokenizer has neither BOS nor EOS.
  EncodedPair encode_pair(std::string_view context, std::string_view continuation) const {
    return encode_pair(context, continuation, count_context(context));
  }
  // The same with context_tokens = count_context(context), which the answers to one question share.
  EncodedPair encode_pair(std::string_view context, std::string_view continuation, size_t context_tokens) const;

  // The same before anything is cut: however long, targets and all. FAILS: kBadInput without a token of the
  // continuation, or neither BOS nor EOS for an empty context.
  EncodedPair join_pair(std::string_view context, std::string_view continuation, size_t context_tokens) const;
  // Cut on the left to max_length + 1 tokens. FAILS: kBadInput when the targets do not fit, or nothing precedes them.
  EncodedPair cut_pair(EncodedPair pair) const;

  // Tokens of the context alone, without white space at its end; 1 for an empty one.
  size_t count_context(std::string_view context) const;

  // The windows of a whole text (utils.get_rolling_token_windows, make_disjoint_window), whose targets together are its
  // tokens, each once. The first window begins with the prefix token (BOS, else EOS); each later one has as many tokens
  // before its targets as the model's positions leave, at least one. None for a text without tokens.
  // FAILS: kBadInput when the tokenizer has neither BOS nor EOS.
  std::vector<EncodedPair> encode_rolling(std::string_view text) const {
    return windows(text::encode_scored(tokenizer_, text, rule_));
  }
  // The same of tokens.
  std::vector<EncodedPair> windows(std::vector<int32_t> tokens) const;

  // A prompt with room for max_new_tokens, cut on the left. FAILS: kBadInput when there is no room, or no token.
  std::vector<int32_t> encode_prompt(std::string_view context, int64_t max_new_tokens) const {
    return cut_prompt(prompt_tokens(context), max_new_tokens);
  }
  std::vector<int32_t> prompt_tokens(std::string_view context) const {
    return text::encode_generation_prompt(tokenizer_, context, rule_);
  }
  std::vector<int32_t> cut_prompt(std::vector<int32_t> tokens, int64_t max_new_tokens) const;

  const text::Tokenizer& tokenizer() const { return tokenizer_; }
  int64_t max_length() const { return max_length_; }

 private:
  void check_uniform(int64_t length) const;
  int32_t prefix_token() const;

  const text::Tokenizer& tokenizer_;
  text::PromptRule rule_;
  int64_t max_length_;
  int64_t uniform_length_;
};

}  // namespace evalmpi::eval

#include "encode.h"

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"

namespace evalmpi::eval {

size_t PromptEncoder::count_context(std::string_view context) const {
  if (context.empty()) return 1;
  return text::encode_scored(tokenizer_, text::python::rstrip(context), rule_).size();
}

EncodedPair PromptEncoder::encode_pair(std::string_view context, std::string_view continuation,
                                       size_t context_tokens) const {
  return cut_pair(join_pair(context, continuation, context_tokens));
}

EncodedPair PromptEncoder::join_pair(std::string_view context, std::string_view continuation,
                                     size_t context_tokens) const {
  EncodedPair pair;
  if (context.empty()) {
    const int32_t prefix = prefix_token();
    pair.tokens = tokenizer_.encode(continuation, false);
    if (pair.tokens.empty() || pair.tokens.front() != prefix) pair.tokens.insert(pair.tokens.begin(), prefix);
  } else {
    pair.tokens = text::encode_scored(tokenizer_, std::string(context) + std::string(continuation), rule_);
  }
  if (pair.tokens.size() <= context_tokens) {
    fail(ExitCode::kBadInput, "the continuation {} has no token of its own after its context",
         text::python::repr_text(continuation));
  }
  pair.targets = static_cast<int32_t>(pair.tokens.size() - context_tokens);
  if (pair.tokens.size() < 2 || context_tokens == 0) {
    fail(ExitCode::kBadInput, "a context without tokens cannot be scored; the tokenizer gives none for {}",
         text::python::repr_text(context));
  }
  return pair;
}

EncodedPair PromptEncoder::cut_pair(EncodedPair pair) const {
  if (pair.targets > max_length_) {
    fail(ExitCode::kBadInput, "a continuation of {} tokens does not fit the model's {} positions", pair.targets,
         max_length_);
  }
  const size_t kept = std::min(pair.tokens.size(), static_cast<size_t>(max_length_) + 1);
  pair.tokens.erase(pair.tokens.begin(), pair.tokens.end() - static_cast<int64_t>(kept));
  check_uniform(static_cast<int64_t>(pair.tokens.size()) - 1);
  return pair;
}

std::vector<EncodedPair> PromptEncoder::windows(std::vector<int32_t> tokens) const {
  if (tokens.empty()) return {};
  tokens.insert(tokens.begin(), prefix_token());
  // Token i is predicted from those before it; window after window ends at the last token that it predicts.
  std::vector<EncodedPair> windows;
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  for (int64_t first = 1; first < n_tokens;) {
    const int64_t last = std::min(n_tokens, first + max_length_);
    const int64_t begin = first == 1 ? 0 : last - max_length_ - 1;
    EncodedPair window;
    window.tokens.assign(tokens.begin() + begin, tokens.begin() + last);
    window.targets = static_cast<int32_t>(last - first);
    check_uniform(last - begin - 1);
    windows.push_back(std::move(window));
    first = last;
  }
  return windows;
}

int32_t PromptEncoder::prefix_token() const {
  const std::optional<int32_t> prefix = text::prefix_token_id(tokenizer_, rule_);
  if (!prefix) fail(ExitCode::kBadInput, "an empty context needs a BOS or EOS token, and the tokenizer has neither");
  return *prefix;
}

void PromptEncoder::check_uniform(int64_t length) const {
  if (length <= uniform_length_) return;
  fail(ExitCode::kBadInput,
       "a sequence of {} tokens: beyond {} this model's rotary positions (longrope) change for the whole sequence, "
       "which is not supported; --max-length {} cuts prompts there",
       length, uniform_length_, uniform_length_);
}

std::vector<int32_t> PromptEncoder::cut_prompt(std::vector<int32_t> tokens, int64_t max_new_tokens) const {
  const int64_t room = max_length_ - max_new_tokens;
  if (room <= 0) {
    fail(ExitCode::kBadInput,
         "{} new tokens leave no room for a prompt in the model's {} positions; lower max_gen_toks", max_new_tokens,
         max_length_);
  }
  if (tokens.empty()) fail(ExitCode::kBadInput, "an empty prompt cannot be continued");
  if (static_cast<int64_t>(tokens.size()) > room) tokens.erase(tokens.begin(), tokens.end() - room);
  check_uniform(static_cast<int64_t>(tokens.size()) + max_new_tokens);
  return tokens;
}

}  // namespace evalmpi::eval

#include "question.h"

#include <algorithm>

#include "evalmpi/base/error.h"

namespace evalmpi::eval {
namespace {

// A prompt or a continuation that does not fit.
class DoesNotFit : public Error {
 public:
  explicit DoesNotFit(const std::string& message) : Error(ExitCode::kBadInput, message) {}
};

bool has_system_message(const Json& messages) {
  return std::any_of(messages.begin(), messages.end(), [](const Json& message) { return message["role"] == "system"; });
}

std::string render(Conversation conversation, const QuestionRules& rules) {
  EVALMPI_CHECK(rules.chat_template != nullptr);
  if (!rules.system_instruction.empty() && !has_system_message(conversation.messages)) {
    conversation.messages.insert(conversation.messages.begin(),
                                 Json{{"role", "system"}, {"content", rules.system_instruction}});
  }
  return rules.chat_template->render(conversation.messages, conversation.add_generation_prompt,
                                     conversation.continue_final_message);
}

const std::vector<int32_t>& checked(const std::vector<int32_t>& tokens, const QuestionRules& rules) {
  for (const int32_t id : tokens) {
    if (id >= rules.vocab)
      fail(ExitCode::kBadInput, "token id {}: the model's vocabulary has {} tokens", id, rules.vocab);
  }
  return tokens;
}

// A plain prompt as the user's message, where that was asked for.
Prompt wrapped(const Prompt& prompt, const QuestionRules& rules) {
  const auto* text = std::get_if<std::string>(&prompt);
  if (!rules.wraps_prompts || text == nullptr) return prompt;
  return Conversation{Json::array({Json{{"role", "user"}, {"content", *text}}})};
}

std::vector<int32_t> prompt_tokens(const Prompt& prompt, const QuestionRules& rules) {
  if (const auto* tokens = std::get_if<std::vector<int32_t>>(&prompt)) return checked(*tokens, rules);
  if (const auto* conversation = std::get_if<Conversation>(&prompt)) {
    return rules.encoder->tokenizer().encode(render(*conversation, rules), false);
  }
  return rules.encoder->prompt_tokens(std::get<std::string>(prompt));
}

struct PromptWithRoom {
  std::vector<int32_t> tokens;
  int32_t new_tokens = 0;
};

PromptWithRoom fit_prompt(std::vector<int32_t> tokens, int32_t wanted, const QuestionRules& rules) {
  const int64_t positions = rules.encoder->max_length(), size = static_cast<int64_t>(tokens.size());
  if (rules.too_long == TooLong::kTruncate) return {rules.encoder->cut_prompt(std::move(tokens), wanted), wanted};
  if (size >= positions) {
    throw DoesNotFit(
        fmt::format("the prompt has {} tokens, which leave no room for new ones in {} positions", size, positions));
  }
  const int64_t room = std::min<int64_t>(wanted, positions - size);
  return {rules.encoder->cut_prompt(std::move(tokens), room), static_cast<int32_t>(room)};
}

void encode_prompts(Encoded& encoded, int64_t position, const Question& question, const QuestionRules& rules) {
  std::vector<PromptWithRoom> prompts;
  for (const Prompt& prompt : question.prompts) {
    const Prompt asked = question.is_batch_line ? prompt : wrapped(prompt, rules);
    prompts.push_back(fit_prompt(prompt_tokens(asked, rules), question.max_tokens.value(), rules));
  }
  int32_t index = 0;
  for (const PromptWithRoom& prompt : prompts)
    encoded.add_generation(position, index++, prompt.tokens, prompt.new_tokens);
}

EncodedPair fit_pair(EncodedPair pair, const QuestionRules& rules) {
  const int64_t positions = rules.encoder->max_length(), size = static_cast<int64_t>(pair.tokens.size());
  if (pair.targets > positions || (size > positions + 1 && rules.too_long != TooLong::kTruncate)) {
    throw DoesNotFit(
        fmt::format("the prompt with its continuation has {} tokens, the model {} positions", size, positions));
  }
  return rules.encoder->cut_pair(std::move(pair));
}

EncodedPair join_tokens(const std::vector<int32_t>& context, const Prompt& continuation, const QuestionRules& rules) {
  const auto* tokens = std::get_if<std::vector<int32_t>>(&continuation);
  if (tokens == nullptr) fail(ExitCode::kBadInput, "a prompt of token ids needs a continuation of token ids");
  EncodedPair pair{checked(context, rules), static_cast<int32_t>(tokens->size())};
  pair.tokens.insert(pair.tokens.end(), checked(*tokens, rules).begin(), tokens->end());
  return pair;
}

void encode_continuations(Encoded& encoded, int64_t position, const Question& question, const QuestionRules& rules) {
  const Prompt prompt = wrapped(question.prompts.front(), rules);
  const auto* context_tokens = std::get_if<std::vector<int32_t>>(&prompt);
  std::string context;
  if (const auto* conversation = std::get_if<Conversation>(&prompt)) context = render(*conversation, rules);
  if (const auto* text = std::get_if<std::string>(&prompt)) context = *text;
  const size_t count = context_tokens == nullptr ? rules.encoder->count_context(context) : 0;
  std::vector<EncodedPair> pairs;
  for (const Prompt& continuation : question.continuations) {
    if (context_tokens != nullptr) {
      pairs.push_back(fit_pair(join_tokens(*context_tokens, continuation, rules), rules));
      continue;
    }
    const auto* text = std::get_if<std::string>(&continuation);
    if (text == nullptr) fail(ExitCode::kBadInput, "a prompt of text needs a continuation of text");
    pairs.push_back(fit_pair(rules.encoder->join_pair(context, *text, count), rules));
  }
  int32_t index = 0;
  for (const EncodedPair& pair : pairs) encoded.add_score(position, index++, pair);
}

void encode_whole_text(Encoded& encoded, int64_t position, const Question& question, const QuestionRules& rules) {
  const Prompt& prompt = question.prompts.front();
  const auto* tokens = std::get_if<std::vector<int32_t>>(&prompt);
  int32_t index = 0;
  for (const EncodedPair& window : tokens != nullptr ? rules.encoder->windows(checked(*tokens, rules))
                                                     : rules.encoder->encode_rolling(std::get<std::string>(prompt))) {
    encoded.add_score(position, index++, window);
  }
}

void encode_any(Encoded& encoded, int64_t position, const Question& question, const QuestionRules& rules) {
  if (rules.job == FileJob::kGenerate) return encode_prompts(encoded, position, question, rules);
  if (question.is_whole_text) return encode_whole_text(encoded, position, question, rules);
  encode_continuations(encoded, position, question, rules);
}

}  // namespace

void encode_question(Encoded& encoded, int64_t position, const Question& question, const QuestionRules& rules) {
  const auto refuse = [&](const Error& error) {
    encoded.refused.push_back(static_cast<int32_t>(position));
    encoded.reasons.emplace_back(error.what());
  };
  const auto fail_at_line = [&](const Error& error, const char* remedy) {
    fail(error.code(), "{}:{}: {}{}", rules.file, question.line, error.what(), remedy);
  };
  try {
    encode_any(encoded, position, question, rules);
  } catch (const DoesNotFit& error) {
    if (question.is_batch_line || rules.too_long != TooLong::kError) return refuse(error);
    fail_at_line(error, "; --too-long truncate cuts it on the left, skip says so in the line's result");
  } catch (const Error& error) {
    if (question.is_batch_line) return refuse(error);
    fail_at_line(error, "");
  }
}

}  // namespace evalmpi::eval

#include "prompt.h"

#include "evalmpi/text/python.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

bool starts_with_space(std::string_view text) { return py::lstrip(text).size() != text.size(); }

const char* role_name(Turn::Role role) {
  switch (role) {
    case Turn::Role::kSystem: return "system";
    case Turn::Role::kUser: return "user";
    case Turn::Role::kAssistant: return "assistant";
  }
  return "";
}

Json message(const Turn& turn) { return {{"role", role_name(turn.role)}, {"content", turn.text}}; }

std::string joined(const std::vector<Turn>& turns, size_t first, size_t last) {
  std::string text;
  for (size_t i = first; i < last; ++i) {
    text += turns[i].text;
    text += turns[i].delimiter;
  }
  return text;
}

// Everything between the system turn and a started answer becomes one user message.
Json single_turn_messages(std::vector<Turn> turns) {
  Json messages = Json::array();
  size_t first = 0;
  if (turns.front().role == Turn::Role::kSystem) {
    messages.push_back(message(turns.front()));
    first = 1;
  }
  const bool answer_started = turns.back().role == Turn::Role::kAssistant;
  const size_t last = turns.size() - (answer_started ? 1 : 0);
  turns[last - 1].delimiter.clear();
  messages.push_back(message({Turn::Role::kUser, joined(turns, first, last), ""}));
  if (answer_started) messages.push_back(message(turns.back()));
  return messages;
}

}  // namespace

bool ends_with_space(std::string_view text) { return py::rstrip(text).size() != text.size(); }

std::string join_delimited(std::string_view first, std::string_view second, std::string_view delimiter) {
  std::string text(first);
  if (!first.empty() && !second.empty() && !ends_with_space(first) && !starts_with_space(second)) text += delimiter;
  text += second;
  return text;
}

std::vector<Turn> question_turns(const QuestionParts& parts) {
  const bool has_answer = !parts.answer.empty();
  const bool has_prefix = !parts.gen_prefix.empty();
  const bool needs_space =
      has_prefix && !parts.question.empty() && !ends_with_space(parts.question) && !starts_with_space(parts.gen_prefix);
  const bool delimited = has_prefix ? needs_space : has_answer;
  std::vector<Turn> turns = {{Turn::Role::kUser, parts.question, delimited ? parts.target_delimiter : ""}};
  if (has_answer) {
    turns.push_back(
        {Turn::Role::kAssistant, join_delimited(parts.gen_prefix, parts.answer, " "), parts.fewshot_delimiter});
  } else if (has_prefix) {
    turns.push_back({Turn::Role::kAssistant, parts.gen_prefix, ""});
  }
  return turns;
}

std::string render_turns(std::vector<Turn> turns, const TaskOptions& options, bool has_gen_prefix) {
  if (!options.chat_template) return joined(turns, 0, turns.size());
  if (!options.fewshot_as_multiturn) {
    return options.chat_template(single_turn_messages(std::move(turns)), !has_gen_prefix);
  }
  Json messages = Json::array();
  for (const Turn& turn : turns) messages.push_back(message(turn));
  return options.chat_template(messages, !has_gen_prefix);
}

}  // namespace evalmpi::task

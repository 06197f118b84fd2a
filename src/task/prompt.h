#pragma once

// How a prompt is put together from its turns.

#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/task/task.h"

namespace evalmpi::task {

struct Turn {
  enum class Role { kSystem, kUser, kAssistant };
  Role role = Role::kUser;
  std::string text;
  std::string delimiter;  // follows the text where turns are joined to plain text
};

// first + second, with the delimiter between only where neither side has white space at the joint and neither is empty.
std::string join_delimited(std::string_view first, std::string_view second, std::string_view delimiter);

bool ends_with_space(std::string_view text);

struct QuestionParts {
  std::string question;
  std::string answer;  // empty: none
  std::string gen_prefix;
  std::string target_delimiter;
  std::string fewshot_delimiter;
};

// One question, with its answer or the start of one.
std::vector<Turn> question_turns(const QuestionParts& parts);

// The prompt: turns joined, or through the chat template.
std::string render_turns(std::vector<Turn> turns, const TaskOptions& options, bool has_gen_prefix);

}  // namespace evalmpi::task

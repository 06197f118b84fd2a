// MMLU-Pro: questions with up to ten options and worked answers.

#include "columns.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

constexpr std::string_view kThinking = "A: Let's think step by step.";
constexpr size_t kMaxOptions = 10;
constexpr size_t kMaxOptionsPlus = 16;

std::string letter(size_t i) { return std::string(1, static_cast<char>('A' + i)); }

std::string question_with_options(const Json& document, size_t max_options) {
  std::string prompt = "Question:\n" + text_of(document, "question") + "\nOptions:\n";
  const std::vector<std::string> options = texts_of(document, "options");
  for (size_t i = 0; i < options.size() && i < max_options; ++i) {
    prompt += letter(i) + ". " + py::strip(options[i]) + "\n";
  }
  return prompt + "Answer: Let's think step by step.";
}

}  // namespace

Json mmlu_pro_doc_to_text(const Json& document) { return question_with_options(document, kMaxOptions); }

Json mmlu_pro_plus_doc_to_text(const Json& document) { return question_with_options(document, kMaxOptionsPlus); }

Json mmlu_pro_fewshot_to_target(const Json& document) {
  return py::replace(text_of(document, "cot_content"), std::string(kThinking) + " ", "");
}

Json llama3_mmlu_pro_fewshot_to_text(const Json& document) {
  std::string_view content = text_of(document, "cot_content");
  if (content.starts_with(kThinking)) content.remove_prefix(kThinking.size());
  static const text::Regex kAnswer = text::Regex::compile(R"(The answer is \(([A-Z])\)\.)", "mmlu_pro");
  return kAnswer.replace_all(py::strip(content), R"(The best answer is \1.)");
}

Json leaderboard_mmlu_pro_doc_to_text(const Json& document) {
  std::string prompt = text_of(document, "question") + "\n";
  const std::vector<std::string> options = texts_of(document, "options");
  for (size_t i = 0; i < options.size(); ++i) prompt += letter(i) + ". " + options[i] + "\n";
  return prompt + "Answer:";
}

Json leaderboard_mmlu_pro_doc_to_choice(const Json& document) {
  Json choices = Json::array();
  for (size_t i = 0; i < list_of(document, "options").size(); ++i) choices.push_back(letter(i));
  return choices;
}

}  // namespace evalmpi::task::native

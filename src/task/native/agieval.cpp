// AGIEval, AIME and HRM8K: answers in LaTeX or among choices.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "math_answers.h"
#include "python_float.h"
#include "twins.h"

namespace evalmpi::task::native {

namespace py = text::python;

MetricValues agieval_process_results(const Json& document, const std::vector<Json>& responses) {
  const std::string& response = only_text(responses);
  const Json& gold = value_of(document, "answer");
  if (gold.is_null()) return {{"acc", 0}};
  const std::optional<std::string> a = math_answer(response);
  const std::optional<std::string> b = math_answer(text_of(document, "answer"));
  const bool equal = a && b ? is_equivalent(*a, *b, Slashes::kAny) : a == b;
  return {{"acc", equal ? 1 : 0}};
}

// Several choices may be right.
MetricValues agieval_process_results_mcqa(const Json& document, const std::vector<Json>& responses) {
  const std::vector<double> values = log_likelihoods(responses);
  const std::vector<std::string> choices = texts_of(document, "choices");
  if (choices.size() != values.size()) {
    fail(ExitCode::kBadInput, "{} choices for {} answers", choices.size(), values.size());
  }
  std::vector<double> per_character;
  for (size_t i = 0; i < values.size(); ++i) {
    per_character.push_back(values[i] / static_cast<double>(py::length(choices[i])));
  }
  const Json& golds = list_of(document, "gold");
  const auto right = [&](size_t prediction) {
    return std::find(golds.begin(), golds.end(), Json(prediction)) != golds.end() ? 1.0 : 0.0;
  };
  return {{"acc", right(argmax(values))}, {"acc_norm", right(argmax(per_character))}};
}

// AIME: between the first and the last dollar sign, or in the last box.
MetricValues aime_process_results(const Json& document, const Responses& responses) {
  const std::string& response = only_text(responses);
  const size_t first = response.find('$');
  const size_t last = response.rfind('$');
  std::string answer = first == last ? response : response.substr(first + 1, last - first - 1);
  const std::optional<std::string> boxed = last_boxed(response, true);
  const std::optional<std::string> inside = boxed ? inside_boxed(*boxed, true) : std::nullopt;
  if (inside) answer = *inside;
  for (const auto& [column, value] : document.items()) {
    if (py::lower(column) != "answer") continue;
    return {{"exact_match", is_equivalent(answer, py::str(value), Slashes::kOfIntegers) ? 1 : 0}};
  }
  fail(ExitCode::kBadInput, "the column answer is missing");
}

namespace {

// A number as Python writes it, without .0; any other text as it is.
std::string plain_number(const std::string& text) {
  const std::string stripped = py::strip(text);
  const std::optional<double> number = parse_python_float(stripped);
  if (!number) return stripped;
  const bool is_whole = std::isfinite(*number) && *number == std::floor(*number);
  return is_whole ? fmt::format("{:.0f}", *number == 0 ? 0.0 : *number) : py::repr_float(*number);
}

}  // namespace

Json hrm8k_doc_to_target(const Json& document) { return plain_number(py::str(value_of(document, "answer"))); }

MetricValues hrm8k_process_results(const Json& document, const Responses& responses) {
  const std::string gold = plain_number(py::str(value_of(document, "answer")));
  const std::optional<std::string> a = math_answer(only_text(responses));
  const std::optional<std::string> b = math_answer(gold);
  bool equal = a == b;
  if (a && b) {
    const std::optional<std::string> form_a = normal_form(*a, Slashes::kAny);
    const std::optional<std::string> form_b = normal_form(*b, Slashes::kAny);
    equal = form_a && form_b ? plain_number(*form_a) == *form_b : a == b;
  }
  return {{"exact_match", equal ? 1 : 0}};
}

Json hrm8k_doc_to_text(const Json& document) {
  return "주어진 문제를 풀어보세요.\n문제를 푼 후, 최종 답변을 다음과 같은 형식으로 작성하세요: "
         "$\\boxed{N}$.\n\n문제: " +
         py::strip(text_of(document, "question")) + "\n답변:";
}

Json hrm8k_doc_to_text_mmmlu(const Json& document) {
  return "주어진 문제를 풀어보세요.\n문제를 푼 후, 주어진 선택지 (1, 2, 3, 4) 중 최종 선택지를 다음 형식으로 "
         "작성하세요: $\\boxed{N}$.\n\n"
         "문제: " +
         py::strip(text_of(document, "question")) + "\n답변:";
}

Json hrm8k_english_doc_to_text(const Json& document) {
  return "Solve the given question.\nAfter solving the problem, state your final answer in the following format: "
         "$\\boxed{N}$.\n\nQuestion: " +
         py::strip(text_of(document, "original")) + "\nAnswer:";
}

Json hrm8k_english_doc_to_text_mmmlu(const Json& document) {
  return "Solve the given question.\nAfter solving the problem, state your final choice among the choices (1, 2, 3, 4) "
         "in the following format: $\\boxed{N}$.\n\nQuestion: " +
         py::strip(text_of(document, "original")) + "\nAnswer:";
}

}  // namespace evalmpi::task::native

#include <algorithm>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "math_answers.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

using Optional = std::optional<std::string>;

std::string after_last_equals(const std::string& text) { return py::lstrip(py::split(text, "=").back(), " "); }

Optional boxed_answer(const std::string& response) {
  const Optional boxed = last_boxed(response, false);
  Optional answer = boxed ? inside_boxed(*boxed, false) : Optional();
  if (answer && answer->find('=') != answer->npos) answer = after_last_equals(*answer);
  return answer;
}

Optional dollar_answer(const std::string& response) {
  static const text::Regex kDollars = text::Regex::compile(R"(\$(.*)\$)", "agieval");
  const std::vector<std::string> matches = kDollars.find_all_texts(response);
  if (matches.empty()) return {};
  return matches.back().find('=') == std::string::npos ? matches.back() : after_last_equals(matches.back());
}

Optional plain_answer(const std::string& response) {
  if (response.find('=') != response.npos) {
    const std::string answer = py::rstrip(after_last_equals(response), ".");
    return py::split(answer, "\\n").front();
  }
  static const text::Regex kNumber = text::Regex::compile(R"((?:\$)?\d+(?:\.\d+)?(?![\w\d]))", "agieval");
  const std::vector<std::string> matches = kNumber.find_all_texts(response);
  if (matches.empty()) return {};
  return matches.back();
}

Optional math_answer(const std::string& response) {
  if (response.find("\\boxed") != response.npos) return boxed_answer(response);
  const Optional answer = dollar_answer(response);
  return answer && !answer->empty() ? answer : plain_answer(response);
}

}  // namespace

MetricValues agieval_process_results(const Json& document, const std::vector<Json>& responses) {
  const std::string& response = only_text(responses);
  const Json& gold = value_of(document, "answer");
  if (gold.is_null()) return {{"acc", 0}};
  const Optional a = math_answer(response);
  const Optional b = math_answer(text_of(document, "answer"));
  const bool equal = a && b ? is_equivalent(*a, *b) : a == b;
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

}  // namespace evalmpi::task::native

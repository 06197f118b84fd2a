// LongBench's scores of answers, where no word segmentation and no other package is asked for.

#include <algorithm>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "squad_scores.h"
#include "text_cleaning.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

// The best score against any of the answers, under both its names.
template <typename Score>
MetricValues best(const Json& document, const Responses& responses, const char* name, Score score) {
  const std::string prediction = py::strip(only_text(responses));
  double most = 0;
  for (const std::string& answer : texts_of(document, "answers")) most = std::max(most, score(prediction, answer));
  return {{"score", most}, {name, most}};
}

// The share of the numbers in a text that are this one.
double share_of_numbers(const std::string& text, std::string_view wanted) {
  static const text::Regex kNumber = text::Regex::compile(R"(\d+)", "");
  const std::vector<text::RegexMatch> numbers = kNumber.find_all(text);
  const auto right = std::count_if(numbers.begin(), numbers.end(),
                                   [&](const text::RegexMatch& match) { return match.groups[0].of(text) == wanted; });
  return numbers.empty() ? 0.0 : static_cast<double>(right) / static_cast<double>(numbers.size());
}

// Classes that the text names. As in the harness, one that is part of the true class's name goes, and hides the next
// from being looked at.
double class_score(const std::string& text, const std::string& gold, const std::vector<std::string>& classes) {
  std::vector<std::string> named;
  for (const std::string& name : classes) {
    if (text.find(name) != text.npos) named.push_back(name);
  }
  for (size_t i = 0; i < named.size(); ++i) {
    if (gold.find(named[i]) != gold.npos && named[i] != gold)
      named.erase(std::find(named.begin(), named.end(), named[i]));
  }
  if (std::find(named.begin(), named.end(), gold) == named.end()) return 0;
  return 1.0 / static_cast<double>(named.size());
}

}  // namespace

MetricValues longbench_qa_f1(const Json& document, const Responses& responses) {
  return best(document, responses, "qa_f1_score", [](const std::string& prediction, const std::string& answer) {
    return word_f1(py::split(normalise_answer(answer)), py::split(normalise_answer(prediction)));
  });
}

MetricValues longbench_classification(const Json& document, const Responses& responses) {
  const std::vector<std::string> classes = texts_of(document, "all_classes");
  return best(document, responses, "classification_score",
              [&](const std::string& prediction, const std::string& answer) {
                return class_score(prediction, answer, classes);
              });
}

MetricValues longbench_count(const Json& document, const Responses& responses) {
  return best(document, responses, "count_score", share_of_numbers);
}

MetricValues longbench_retrieval(const Json& document, const Responses& responses) {
  static const text::Regex kParagraph = text::Regex::compile(R"(Paragraph (\d+))", "");
  return best(document, responses, "retrieval_score", [](const std::string& prediction, const std::string& answer) {
    const std::vector<text::RegexMatch> found = kParagraph.find_all(answer);
    if (found.empty()) fail(ExitCode::kBadInput, "the answer '{}' names no paragraph", answer);
    return share_of_numbers(prediction, found[0].groups[1].of(answer));
  });
}

MetricValues longbench_retrieval_zh(const Json& document, const Responses& responses) {
  static const text::Regex kParagraph = text::Regex::compile(R"(段落(\d+))", "");
  return best(document, responses, "retrieval_zh_score", [](const std::string& prediction, const std::string& answer) {
    const std::vector<text::RegexMatch> found = kParagraph.find_all(answer);
    if (found.empty()) fail(ExitCode::kBadInput, "the answer '{}' names no paragraph", answer);
    return share_of_numbers(prediction, found[0].groups[1].of(answer));
  });
}

}  // namespace evalmpi::task::native

#include <algorithm>

#include "compiled.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

struct LoglikelihoodPair {
  double log_likelihood = 0;
  bool is_greedy = false;
};

LoglikelihoodPair pair_of(const Json& response) {
  if (!response.is_array() || response.size() != 2 || !response[0].is_number()) {
    fail(ExitCode::kBadInput, "the filters must leave one log-likelihood for each request, not {}", py::repr(response));
  }
  const Json& greedy = response[1];
  return {response[0].get<double>(), greedy.is_boolean() ? greedy.get<bool>() : greedy != 0};
}

// The gold text of a generation: a choice, or the target as text.
std::vector<std::string> references_of(const Task& task, const Task::Compiled& compiled, int64_t row) {
  const Json target = task.target(row);
  if (compiled.choices.exists()) {
    const std::vector<std::string> choices = choices_of(compiled.choices, task.document(row));
    if (!is_index(target)) {
      fail(ExitCode::kBadInput, "{}: must give the index of a choice, not {}", compiled.target.where(),
           py::repr(target));
    }
    return {choice_at(choices, target, compiled.target.where())};
  }
  if (!compiled.multiple_target) return {py::str(target)};
  std::vector<std::string> references;
  if (target.is_string()) {
    // The harness makes a list of it, as Python does: of its characters. Its scores are the measure.
    const std::string& text = target.get_ref<const std::string&>();
    for (const std::string_view character : py::code_points(text)) references.emplace_back(character);
    return references;
  }
  if (!target.is_array()) return {py::str(target)};
  for (const Json& one : target) references.push_back(py::str(one));
  return references;
}

// Whether one of the references is met.
double exact_match(const ExactMatch& rule, const Json& response, const std::vector<std::string>& references) {
  if (!response.is_string()) {
    fail(ExitCode::kBadInput, "the filters must leave one text for exact_match, not {}", py::repr(response));
  }
  const bool any = std::any_of(references.begin(), references.end(), [&](const std::string& reference) {
    return rule.equal(response.get_ref<const std::string&>(), reference);
  });
  return any ? 1 : 0;
}

MetricValues generation_metrics(const Task& task, const Task::Compiled& compiled, int64_t row, const Json& response) {
  MetricValues values;
  for (const MetricConfig& metric : task.config().metrics) {
    if (metric.name == "bypass") {
      values.emplace_back(metric.name, nullptr);
      continue;
    }
    const std::vector<std::string> references = references_of(task, compiled, row);
    if (metric.name == "exact_match") {
      values.emplace_back(metric.name, exact_match(compiled.exact_match.front(), response, references));
    } else if (compiled.multiple_target) {
      fail(ExitCode::kBadInput, "{}: the metric {} takes one reference, not a list", compiled.target.where(),
           metric.name);
    } else {
      values.emplace_back(metric.name, Json::array({references.front(), response}));
    }
  }
  return values;
}

MetricValues choice_metrics(const Task& task, const Task::Compiled& compiled, int64_t row,
                            const std::vector<Json>& responses) {
  ChoiceScores scores;
  scores.choices = choices_of(compiled.choices, task.document(row));
  const size_t expected = scores.choices.size() * (compiled.mutual_information ? 2 : 1);
  if (responses.size() != expected) {
    fail(ExitCode::kInternal, "{} responses for {} requests", responses.size(), expected);
  }
  for (size_t i = 0; i < responses.size(); ++i) {
    const LoglikelihoodPair pair = pair_of(responses[i]);
    if (i >= scores.choices.size()) {
      scores.unconditional.push_back(pair.log_likelihood);
      continue;
    }
    scores.log_likelihoods.push_back(pair.log_likelihood);
    scores.is_greedy.push_back(pair.is_greedy);
  }
  scores.gold = compiled.multiple_input ? question_of(compiled.question, task.document(row), true) : task.target(row);
  return multiple_choice_metrics(task.config().metrics, scores);
}

}  // namespace

MetricValues document_metrics(const Task& task, const Task::Compiled& compiled, int64_t row,
                              const std::vector<Json>& responses) {
  if (compiled.process_results != nullptr) return compiled.process_results(task.document(row), responses);
  if (compiled.document_requests != nullptr) return {{"bypass", nullptr}};
  if (task.config().output_type == OutputType::kMultipleChoice) return choice_metrics(task, compiled, row, responses);
  if (responses.size() != 1) fail(ExitCode::kInternal, "{} responses for one request", responses.size());
  const Json& response = responses.front();
  if (task.config().output_type == OutputType::kGenerateUntil) {
    return generation_metrics(task, compiled, row, response);
  }
  if (task.config().output_type == OutputType::kLoglikelihood) {
    const LoglikelihoodPair pair = pair_of(response);
    return loglikelihood_metrics(task.config().metrics, pair.log_likelihood, pair.is_greedy);
  }
  if (!response.is_number()) {
    fail(ExitCode::kBadInput, "the filters must leave one log-likelihood, not {}", py::repr(response));
  }
  return rolling_metrics(task.config().metrics, response.get<double>(), py::str(task.target(row)));
}

}  // namespace evalmpi::task

#include "evalmpi/task/metric.h"

#include <algorithm>
#include <cmath>

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "native/columns.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;
using native::argmax;

struct NamedDefaults {
  const char* name;
  MetricDefaults defaults;
};

constexpr NamedDefaults kMetrics[] = {
    {"acc", {"mean", true}},
    {"acc_norm", {"mean", true}},
    {"acc_bytes", {"mean", true}},
    {"acc_mutual_info", {"mean", true}},
    {"exact_match", {"mean", true}},
    {"f1", {"f1", true}},
    {"mcc", {"matthews_corrcoef", true}},
    {"brier_score", {"brier_score", false}},
    {"perplexity", {"perplexity", false}},
    {"word_perplexity", {"weighted_perplexity", false}},
    {"byte_perplexity", {"weighted_perplexity", false}},
    {"bits_per_byte", {"bits_per_byte", false}},
    {"bleu", {"bleu", true}},
    {"chrf", {"chrf", true}},
    {"chrf++", {"chrf++", true}},
    {"ter", {"ter", false}},
    {"bypass", {"bypass", true}},
};

// A gold index outside the choices: equal to no prediction.
constexpr int64_t kNoGold = -100;

// argmax of values / lengths. An empty choice divides by zero, as numpy does.
size_t argmax_per_length(const std::vector<double>& values, const std::vector<double>& lengths) {
  std::vector<double> ratios(values.size());
  for (size_t i = 0; i < values.size(); ++i) ratios[i] = values[i] / lengths[i];
  return argmax(ratios);
}

std::vector<double> softmax(const std::vector<double>& values) {
  const double largest = *std::max_element(values.begin(), values.end());
  std::vector<double> result(values.size());
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += result[i] = std::exp(values[i] - largest);
  for (double& value : result) value /= sum;
  return result;
}

int64_t gold_index(const Json& gold, const std::vector<std::string>& choices) {
  if (gold.is_string()) {
    const auto found = std::find(choices.begin(), choices.end(), gold.get_ref<const std::string&>());
    return found == choices.end() ? kNoGold : found - choices.begin();
  }
  if (gold.is_boolean()) return gold.get<bool>() ? 1 : 0;
  if (!gold.is_number_integer()) {
    fail(ExitCode::kBadInput, "the gold answer must be an index of a choice or its text, not {}", py::repr(gold));
  }
  const int64_t index = gold.get<int64_t>();
  return index < static_cast<int64_t>(choices.size()) ? index : kNoGold;
}

// The right answers; one unless the document has several.
std::vector<int64_t> gold_indices(const Json& gold, const std::vector<std::string>& choices) {
  if (!gold.is_array()) return {gold_index(gold, choices)};
  std::vector<int64_t> indices;
  for (const Json& one : gold) indices.push_back(gold_index(one, choices));
  return indices;
}

bool contains(const std::vector<int64_t>& indices, size_t prediction) {
  return std::find(indices.begin(), indices.end(), static_cast<int64_t>(prediction)) != indices.end();
}

bool any_greedy(const std::vector<int64_t>& golds, const std::vector<bool>& is_greedy) {
  return std::any_of(golds.begin(), golds.end(), [&](int64_t gold) {
    const int64_t index = gold < 0 && gold != kNoGold ? gold + static_cast<int64_t>(is_greedy.size()) : gold;
    return index >= 0 && index < static_cast<int64_t>(is_greedy.size()) && is_greedy[static_cast<size_t>(index)];
  });
}

bool asked(const std::vector<MetricConfig>& metrics, std::string_view name) {
  return std::any_of(metrics.begin(), metrics.end(), [&](const MetricConfig& metric) { return metric.name == name; });
}

size_t count_words(std::string_view text) {
  static const text::Regex kSpace = text::Regex::compile("\\s+", "word count");
  return kSpace.split(text).size();
}

}  // namespace

std::optional<MetricDefaults> metric_defaults(std::string_view name) {
  for (const NamedDefaults& metric : kMetrics) {
    if (name == metric.name) return metric.defaults;
  }
  return {};
}

std::vector<std::string> default_metrics(OutputType type) {
  switch (type) {
    case OutputType::kLoglikelihood: return {"perplexity", "acc"};
    case OutputType::kLoglikelihoodRolling: return {"word_perplexity", "byte_perplexity", "bits_per_byte"};
    case OutputType::kMultipleChoice: return {"acc", "acc_norm"};
    case OutputType::kGenerateUntil: return {"exact_match"};
  }
  return {};
}

ExactMatch::ExactMatch(const Json& kwargs, const std::string& where) {
  for (const auto& [key, value] : kwargs.items()) {
    const std::string place = where + ": exact_match: " + key;
    if (key == "regexes_to_ignore") {
      if (!value.is_array() && !value.is_null()) fail(ExitCode::kBadInput, "{} must be a list", place);
      for (const Json& pattern : value) {
        if (!pattern.is_string()) fail(ExitCode::kBadInput, "{} must hold texts", place);
        regexes_to_ignore_.push_back(text::Regex::compile(pattern.get<std::string>(), place));
      }
      continue;
    }
    bool* flag = key == "ignore_case"          ? &ignore_case_
                 : key == "ignore_punctuation" ? &ignore_punctuation_
                 : key == "ignore_numbers"     ? &ignore_numbers_
                                               : nullptr;
    if (flag == nullptr) fail(ExitCode::kBadInput, "{} is unknown", place);
    *flag = py::truth(value);  // the harness takes any value
  }
}

std::string ExactMatch::normalise(std::string_view text) const {
  std::string result(text);
  for (const text::Regex& regex : regexes_to_ignore_) result = regex.replace_all(result, "");
  if (ignore_case_) result = py::lower(result);
  const auto is_punctuation = [](unsigned char c) { return c < 128 && std::ispunct(c) != 0; };
  const auto is_digit = [](unsigned char c) { return c >= '0' && c <= '9'; };
  if (ignore_punctuation_) std::erase_if(result, is_punctuation);
  if (ignore_numbers_) std::erase_if(result, is_digit);
  // numpy's texts end before their trailing zero bytes.
  result.erase(result.find_last_not_of('\0') + 1);
  return result;
}

bool ExactMatch::equal(std::string_view prediction, std::string_view reference) const {
  return normalise(prediction) == normalise(reference);
}

MetricValues multiple_choice_metrics(const std::vector<MetricConfig>& metrics, const ChoiceScores& scores) {
  EVALMPI_CHECK(!scores.choices.empty() && scores.choices.size() == scores.log_likelihoods.size());
  std::vector<double> code_points;
  std::vector<double> bytes;
  for (const std::string& choice : scores.choices) {
    code_points.push_back(static_cast<double>(py::length(choice)));
    bytes.push_back(static_cast<double>(choice.size()));
  }
  const std::vector<int64_t> golds = gold_indices(scores.gold, scores.choices);
  const size_t prediction = argmax(scores.log_likelihoods);
  const Json gold = scores.gold.is_array() ? Json(golds) : Json(golds.front());
  const auto right = [&](size_t predicted) { return contains(golds, predicted) ? 1.0 : 0.0; };

  MetricValues values;
  const auto add = [&](const char* name, auto make) {
    if (asked(metrics, name)) values.emplace_back(name, make());
  };
  add("acc", [&] { return Json(right(prediction)); });
  add("f1", [&] { return Json::array({gold, prediction}); });
  add("mcc", [&] { return Json::array({gold, prediction}); });
  add("acc_norm", [&] { return Json(right(argmax_per_length(scores.log_likelihoods, code_points))); });
  add("acc_bytes", [&] { return Json(right(argmax_per_length(scores.log_likelihoods, bytes))); });
  add("exact_match", [&] { return Json(any_greedy(golds, scores.is_greedy) ? 1 : 0); });
  add("brier_score", [&] { return Json::array({gold, softmax(scores.log_likelihoods)}); });
  add("acc_mutual_info", [&] {
    EVALMPI_CHECK(scores.unconditional.size() == scores.choices.size());
    std::vector<double> differences(scores.choices.size());
    for (size_t i = 0; i < differences.size(); ++i) {
      differences[i] = scores.log_likelihoods[i] - scores.unconditional[i];
    }
    return Json(right(argmax(differences)));
  });
  return values;
}

MetricValues loglikelihood_metrics(const std::vector<MetricConfig>& metrics, double log_likelihood, bool is_greedy) {
  MetricValues values;
  if (asked(metrics, "perplexity")) values.emplace_back("perplexity", log_likelihood);
  if (asked(metrics, "acc")) values.emplace_back("acc", is_greedy ? 1 : 0);
  return values;
}

MetricValues rolling_metrics(const std::vector<MetricConfig>& metrics, double log_likelihood, std::string_view text) {
  MetricValues values;
  const auto add = [&](const char* name, size_t weight) {
    if (asked(metrics, name)) values.emplace_back(name, Json::array({log_likelihood, weight}));
  };
  add("word_perplexity", count_words(text));
  add("byte_perplexity", text.size());
  add("bits_per_byte", text.size());
  return values;
}

}  // namespace evalmpi::task

#pragma once

// Metrics of single documents.
//
// A value is what its aggregation (aggregate.h) takes: a number, [log-likelihood, weight] for word_perplexity,
// byte_perplexity and bits_per_byte, [gold, prediction] for f1 and mcc, [gold, [probabilities]] for brier_score,
// [reference or references, prediction] for bleu, chrf, chrf++ and ter.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/task/task_config.h"
#include "evalmpi/text/regex.h"

namespace evalmpi::task {

// A metric's own aggregation and direction, used where a task file gives none. Nothing for an unknown metric.
struct MetricDefaults {
  const char* aggregation;
  bool higher_is_better;
};
std::optional<MetricDefaults> metric_defaults(std::string_view name);

// The metrics that an output type has when metric_list is absent.
std::vector<std::string> default_metrics(OutputType type);

// Values by metric name, in the order in which the harness gives them.
using MetricValues = std::vector<std::pair<std::string, Json>>;

// exact_match after the changes asked for, in this order: regexes_to_ignore removed one after the other, lower case,
// without ASCII punctuation, without ASCII digits.
class ExactMatch {
 public:
  // kwargs: regexes_to_ignore, ignore_case, ignore_punctuation, ignore_numbers. FAILS: kBadInput for other keys and
  // patterns that do not compile.
  ExactMatch(const Json& kwargs, const std::string& where);
  bool equal(std::string_view prediction, std::string_view reference) const;

 private:
  std::string normalise(std::string_view text) const;

  std::vector<text::Regex> regexes_to_ignore_;
  bool ignore_case_ = false;
  bool ignore_punctuation_ = false;
  bool ignore_numbers_ = false;
};

// What multiple-choice metrics are made of: one entry for each choice.
struct ChoiceScores {
  std::vector<std::string> choices;
  std::vector<double> log_likelihoods;
  std::vector<bool> is_greedy;
  std::vector<double> unconditional;  // of the bare choices; empty unless acc_mutual_info is asked for
  Json gold;                          // index, choice text, or a list of indices
};

// acc, acc_norm (per code point), acc_bytes (per UTF-8 byte), acc_mutual_info, exact_match (gold is greedy), f1, mcc,
// brier_score. The first of equal scores wins; a gold index outside the choices is never right.
MetricValues multiple_choice_metrics(const std::vector<MetricConfig>& metrics, const ChoiceScores& scores);

// perplexity (the log-likelihood) and acc (is_greedy).
MetricValues loglikelihood_metrics(const std::vector<MetricConfig>& metrics, double log_likelihood, bool is_greedy);

// word_perplexity, byte_perplexity, bits_per_byte: words are the pieces of \s+ in `text`, bytes those of UTF-8.
MetricValues rolling_metrics(const std::vector<MetricConfig>& metrics, double log_likelihood, std::string_view text);

}  // namespace evalmpi::task

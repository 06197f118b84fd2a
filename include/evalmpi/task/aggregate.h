#pragma once

// From document values to a task's row and from tasks' rows to a group's, with standard errors; in the order of
// additions of lm-evaluation-harness on CPython 3.11, so that the last bit agrees too.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/task/metric.h"
#include "evalmpi/task/task_config.h"

namespace evalmpi::task {

// mean, median, nanmean, perplexity, weighted_perplexity, bits_per_byte, f1, matthews_corrcoef, brier_score, bleu,
// chrf, chrf++, ter (as sacrebleu computes them for a corpus), bypass.
bool is_aggregation(std::string_view name);

// The aggregate of `values` in document order. FAILS: kBadInput for values that do not fit.
double aggregate(std::string_view aggregation, const std::vector<Json>& values);

// Sample standard deviation over sqrt(n) for mean; bootstrap for median, nanmean, perplexity, f1,
// matthews_corrcoef and sacrebleu's; nothing for all others, for n <= 1 and for bootstrap_iterations <= 0.
// Bootstrap: chunks of min(1000, iterations) resamples; chunk i draws choices(values, k=n) from PythonRandom(i).
// `threads` shares the chunks; the result does not depend on it.
std::optional<double> standard_error(std::string_view aggregation, const std::vector<Json>& values,
                                     int64_t bootstrap_iterations, int threads = 1);

// One line of the table: a metric under a filter.
struct MetricResult {
  std::string metric;
  std::string filter;
  double value = 0;
  std::optional<double> standard_error;  // nothing prints as N/A
  int64_t n_values = 0;                  // for a group: documents of the tasks that have the metric
  std::string key() const { return metric + "," + filter; }
};

struct TaskResult {
  std::string name;
  std::string alias;
  int64_t n_documents = 0;  // `sample_len`; of a group: of all its tasks
  bool is_group = false;
  std::vector<MetricResult> metrics;  // in the harness's order: by filter, then by metric

  const MetricResult* find(std::string_view metric, std::string_view filter) const;
};

// What one document gives under one filter.
struct FilterScores {
  std::string filter;
  std::vector<Json> filtered_responses;  // one for each request of the document
  MetricValues metrics;
};

// Collects documents of a task, to be added in document order.
class ScoreTable {
 public:
  void add(const std::vector<FilterScores>& document);
  TaskResult result(const TaskConfig& config, int64_t bootstrap_iterations, int threads = 1) const;

 private:
  struct Column {
    std::string metric;
    std::string filter;
    std::vector<Json> values;
  };
  std::vector<Column> columns_;
};

// The row of a group from its leaf tasks' rows: the mean weighted by documents (or not), and the pooled standard error
//   sqrt(sum_i (n_i - 1) n_i s_i^2 / (sum n_i - G) / sum n_i),
// or sqrt(sum s_i^2) / G for an unweighted mean. No error where a task has none.
TaskResult aggregate_group(const GroupConfig& group, const std::vector<TaskResult>& tasks);

}  // namespace evalmpi::task

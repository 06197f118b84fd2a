#pragma once

// The finished run as other tools read it: the harness's results JSON, and the table.

#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/store/results_file.h"
#include "evalmpi/task/aggregate.h"
#include "evalmpi/task/task.h"
#include "evalmpi/task/task_index.h"

namespace evalmpi::eval {

// What is known of the tasks when all are done; entry i of tasks, results and hashes belong together.
struct FinishedTasks {
  std::vector<const task::Task*> tasks;
  std::vector<task::TaskResult> results;
  std::vector<std::string> hashes;
  std::vector<task::GroupConfig> groups;
  std::vector<task::TaskResult> group_results;  // of groups that aggregate
};

// The keys of lm-evaluation-harness 0.4.13's results_<time>.json that come from the tasks: results, groups,
// group_subtasks, configs, versions, n-shot, higher_is_better, n-samples, task_hashes.
Json results_json(const FinishedTasks& finished);

// Responses as the harness writes them in samples: every leaf as text.
Json texts_of_responses(const Json& value);

// How generations went, per task with any: their number, prompt and new tokens, how they ended, seconds to the first
// token and between tokens (mean, median, 99th percentile), and new tokens per second of one generation.
Json generation_timings(const std::vector<const store::TaskResults*>& tables);

// The metrics in an entry of "results", by metric and filter: its keys are "metric,filter" and "metric_stderr,filter".
struct MetricName {
  std::string metric, filter;
};
std::vector<MetricName> metric_names(const Json& values);

// The line above a table. run: attributes of /run in results.h5 (option.model, dtype, layout, option.limit,
// option.num-fewshot).
std::string results_heading(const Json& run);

// The harness's Markdown table of tasks, and of groups when some aggregate. results: as results_json().
std::string results_table(const Json& results);

}  // namespace evalmpi::eval

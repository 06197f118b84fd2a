#pragma once

// What a task file says, with includes merged, group overrides applied and defaults filled in: the keys, defaults and
// meanings of lm-evaluation-harness 0.4.13.
//
// Values that may be several things in YAML (a column name, a template, a number, a list, a function) stay Json. A
// `!function module.name` is the object {"!function": "module.name", "!file": "<file in which the tag is written>"}.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::task {

enum class OutputType { kLoglikelihood, kLoglikelihoodRolling, kMultipleChoice, kGenerateUntil };
const char* output_type_name(OutputType type);  // as in YAML: "multiple_choice"

// How examples are written; every field that the file leaves out is the task's own.
struct FewshotConfig {
  std::string sampler = "default";   // "default": random without replacement; "first_n"
  std::optional<std::string> split;  // wins over samples
  Json samples;                      // null, or the list of examples
  Json process_docs;
  Json doc_to_text;
  Json doc_to_choice;
  Json doc_to_target;
  Json gen_prefix;
  std::string fewshot_delimiter = "\n\n";
  std::string target_delimiter = " ";
};

// One entry of metric_list.
struct MetricConfig {
  std::string name;
  std::string aggregation;  // "mean", "perplexity", ... (aggregate.h)
  bool higher_is_better = true;
  Json kwargs = Json::object();  // the entry's other keys: regexes_to_ignore, ignore_case, ...
  // The task's own aggregation, which has no standard error; then `aggregation` is its name.
  double (*own_aggregation)(const std::vector<Json>& values) = nullptr;
};

struct FilterStep {
  std::string function;  // a name (filter.h), or the path of a Python class: "/tasks/bbh/zeroshot/utils.WordSortFilter"
  Json kwargs = Json::object();
};

struct FilterConfig {
  std::string name;
  std::vector<FilterStep> steps;
};

struct TaskConfig {
  std::string name;
  std::string alias;           // name, unless the file says otherwise
  std::filesystem::path file;  // where the task is written
  Json version;                // metadata.version; "Yaml" when there is none, as the harness prints

  std::string dataset_path;
  std::string dataset_name;  // empty: none
  Json dataset_kwargs = Json::object();
  std::optional<std::string> training_split;
  std::optional<std::string> validation_split;
  std::optional<std::string> test_split;

  Json process_docs;
  Json doc_to_text;
  Json doc_to_target;
  Json doc_to_choice;
  Json gen_prefix;
  Json process_results;
  Json construct_requests;  // what is asked about a document, where the output type alone does not say it
  std::string description;
  std::string target_delimiter = " ";
  std::string fewshot_delimiter = "\n\n";
  FewshotConfig fewshot;
  int num_fewshot = 0;  // resolved: the file's, the command line's, else 0

  OutputType output_type = OutputType::kGenerateUntil;
  Json generation_kwargs;  // null unless kGenerateUntil; else with `until`
  int repeats = 1;
  std::vector<MetricConfig> metrics;
  std::vector<FilterConfig> filters;  // never empty; default {"none": take_first}
  Json metadata = Json::object();

  // All keys of the harness's `configs` entry in its order, without those that are null. Functions are their names.
  Json dump;
};

// What the command line changes.
struct TaskOverrides {
  std::optional<int> num_fewshot;           // an explicit 0 in the file stays 0
  Json generation_kwargs = Json::object();  // merged over the file's, generate_until only
  bool predict_only = false;                // no metrics, and no filters that need a function which is not built in
};

// The resolved configuration of a merged YAML mapping.
// FAILS: kBadInput naming file, task and key: a key of the wrong kind, an unknown metric, aggregation, filter, sampler
// or output type, a Python class, a multimodal task, or a `!function` that is not built in (with its file and name).
TaskConfig make_task_config(const Json& mapping, const std::filesystem::path& file, const TaskOverrides& overrides);

// One entry of a group's aggregate_metric_list.
struct GroupMetric {
  std::string metric;
  std::optional<std::vector<std::string>> filters;  // absent: all that the tasks have
  bool weight_by_size = true;
};

struct GroupConfig {
  std::string name;
  std::string alias;                  // name, unless the file says otherwise
  std::string version = "N/A";        // metadata.version as text
  std::vector<GroupMetric> metrics;   // empty: the group only collects
  std::vector<std::string> children;  // names of direct members in order, tasks and groups
  std::vector<std::string> tasks;     // names of all leaf tasks in order
};

}  // namespace evalmpi::task

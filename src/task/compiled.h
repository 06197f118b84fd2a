#pragma once

// What a task's sources share: the configuration made ready for use, and the making of prompts and scores from it.

#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "evalmpi/task/filter.h"
#include "evalmpi/task/metric.h"
#include "evalmpi/task/task.h"
#include "fields.h"
#include "native_functions.h"
#include "prompt.h"

namespace evalmpi::task {

// A configuration's fields, filters and metrics, ready for use. Shared by copies of the task.
struct Task::Compiled {
  Field question;
  Field target;
  Field choices;
  Field gen_prefix;
  Field description;
  Field fewshot_question;
  Field fewshot_target;
  Field fewshot_choices;
  Field fewshot_gen_prefix;
  std::vector<FilterPipeline> filters;
  std::vector<ExactMatch> exact_match;                     // one, for generations
  ProcessResults process_results = nullptr;                // makes the metrics where the task has its own
  DocumentRequests document_requests = nullptr;            // what is asked, where the output type does not say it
  void (*check_document)(const Json& document) = nullptr;  // a document without a score, said before a run
  bool multiple_input = false;                             // the choices are questions, the target is what is scored
  bool multiple_target = false;
  bool mutual_information = false;

  // The turns of an example of the pool, made when first asked for; safe from several threads.
  const std::vector<Turn>& example_turns(const FewshotConfig& fewshot, const std::vector<Json>& pool,
                                         int32_t position) const;

 private:
  mutable std::mutex mutex_;
  mutable std::unordered_map<int32_t, std::vector<Turn>> examples_;
};

// Whether a target or question is the index of a choice.
bool is_index(const Json& value);

// A choice by Python's index: -1 is the last. FAILS: kBadInput.
const std::string& choice_at(const std::vector<std::string>& choices, const Json& index, const std::string& where);

// Appends the requests of one document, whose examples are at the positions of `draw` in the pool.
void append_requests(const Task& task, const Task::Compiled& compiled, const TaskOptions& options,
                     const std::vector<Json>& pool, const std::vector<int32_t>& draw, int64_t row,
                     std::vector<Instance>& instances);

// The metrics of one document from its filtered responses.
MetricValues document_metrics(const Task& task, const Task::Compiled& compiled, int64_t row,
                              const std::vector<Json>& responses);

}  // namespace evalmpi::task

#pragma once

// From answers to what users see of one finished task: metrics, sample lines, HDF5 tables. Rank 0 only.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "answers.h"
#include "evalmpi/store/results_file.h"
#include "evalmpi/task/aggregate.h"
#include "evalmpi/task/task.h"
#include "generation.h"
#include "workload.h"

namespace evalmpi::eval {

struct TaskReport {
  task::TaskResult result;
  store::TaskResults table;
  std::string samples;                         // JSON lines, as the harness writes them
  std::string task_hash;                       // of all samples
  std::set<int32_t> records_of_other_classes;  // AnswerPlace::record
};

struct ReportOptions {
  std::filesystem::path log_directory;
  Hash128 numerics_class;  // of this attempt
  int64_t bootstrap_iterations = 0;
  int threads = 1;
};

// REQUIRES: every request has an answer. Everything is in document order, so the bytes do not depend on who computed
// what when. FAILS: kBadInput naming the log when a record is damaged, kIo.
TaskReport report_task(const task::Task& task, const TaskRequests& requests,
                       const std::optional<GenerationPlan>& generation, AnswerTable& answers,
                       const text::Tokenizer& tokenizer, const ReportOptions& options);

}  // namespace evalmpi::eval

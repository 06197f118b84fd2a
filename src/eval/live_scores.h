#pragma once

// Scores of tasks that are still computed, over the documents whose answers are all in: for status.json, never for
// results. Rank 0's main thread.

#include <cstdint>
#include <optional>
#include <vector>

#include "answer_reader.h"
#include "answers.h"
#include "evalmpi/task/aggregate.h"
#include "evalmpi/task/task.h"
#include "generation.h"
#include "workload.h"

namespace evalmpi::eval {

// What scoring early may cost of a core while the run computes. What does not fit comes later, at the latest in the
// task's report.
inline constexpr double kLiveScoresShare = 0.005;

class LiveScores {
 public:
  explicit LiveScores(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // A part of the run, before any update; they outlive its finish(). A part without a task has no scores.
  void add(const task::Task* task, const TaskRequests& requests, const std::optional<GenerationPlan>& generation);
  void finish(size_t task) { tasks_[task].is_finished = true; }

  // Scores documents until all that can be are, or this object has used `cpu_seconds` altogether. Returns the tasks
  // whose scores have changed. FAILS: as AnswerReader.
  std::vector<size_t> update(const AnswerTable& answers, const std::filesystem::path& log_directory,
                             double cpu_seconds);

  struct Row {
    int64_t documents = 0;
    int64_t scored = 0;
    std::vector<task::MetricResult> metrics;  // bootstrapped errors: of few resamples
  };
  Row row(size_t task) const;

  double cpu_seconds() const { return used_; }

 private:
  struct TaskScores {
    const task::Task* task = nullptr;
    const TaskRequests* requests = nullptr;
    const std::optional<GenerationPlan>* generation = nullptr;
    std::vector<size_t> begin;      // the first request of each document, and the end
    std::vector<int64_t> unscored;  // documents, by position
    task::ScoreTable scores;
    bool is_finished = false;
    std::vector<task::MetricResult> metrics;  // of the last update
    int64_t scored = 0;
  };
  bool update_task(TaskScores& task, const AnswerTable& answers, AnswerReader& reader, double until);
  void score(TaskScores& task, int64_t position, const AnswerTable& answers, AnswerReader& reader) const;

  const text::Tokenizer& tokenizer_;
  std::vector<TaskScores> tasks_;
  double used_ = 0;
};

}  // namespace evalmpi::eval

#pragma once

// Evaluating tasks: a part is a task.

#include <vector>

#include "evalmpi/eval/options.h"
#include "work.h"

namespace evalmpi::eval {

class TaskWork final : public Work {
 public:
  // options outlive this.
  explicit TaskWork(const EvalOptions& options) : options_(options) {}

  Json options() const override;
  void read(comm::Communicator& world) override;
  size_t parts() const override { return setup_.selection.tasks.size(); }
  std::string name(size_t part) const override { return setup_.selection.tasks[part].name; }
  void load(size_t part) override;
  int64_t documents(size_t part) const override {
    return static_cast<int64_t>(tasks_[part].task.evaluated_rows().size());
  }
  std::string first_prompt(size_t part) const override { return first_prompt_text(tasks_[part].task); }
  TaskRequests encode(comm::Communicator& world, size_t part, const Hash128& model_id, int threads) override;
  const std::optional<GenerationPlan>& generation(size_t part) const override { return tasks_[part].generation; }
  int64_t document_bytes(size_t part) const override;
  const task::Task* task(size_t part) const override { return &tasks_[part].task; }
  const task::TaskResult* result(size_t part) const override { return &reports_[part].result; }
  void report(size_t part, const TaskRequests& requests, AnswerTable& answers, const ReportOptions& options,
              Published& published) override;
  void publish(Published& published, const RunFacts& facts) override;

 private:
  const EvalOptions& options_;
  std::vector<LoadedTask> tasks_;
  std::vector<TaskReport> reports_;  // rank 0
};

}  // namespace evalmpi::eval

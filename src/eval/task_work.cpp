#include "task_work.h"

#include "budget.h"
#include "evalmpi/base/log.h"
#include "evalmpi/comm/together.h"

namespace evalmpi::eval {

Json TaskWork::options() const {
  EvalOptions shown = options_;
  return to_json(fields(shown));
}

void TaskWork::read(comm::Communicator& world) {
  setup_ = comm::run_together(world, "read model and tasks", [&] { return make_setup(options_); });
}

void TaskWork::load(size_t part) {
  EVALMPI_CHECK(part == tasks_.size());
  tasks_.push_back(load_task(setup_, setup_.selection.tasks[part]));
}

TaskRequests TaskWork::encode(comm::Communicator& world, size_t part, const Hash128& model_id, int threads) {
  return encode_task(world, tasks_[part].task, *setup_.encoder, tasks_[part].generation, model_id, threads);
}

int64_t TaskWork::document_bytes(size_t part) const { return eval::document_bytes(tasks_[part].task); }

void TaskWork::report(size_t part, const TaskRequests& requests, AnswerTable& answers, const ReportOptions& options,
                      Published& published) {
  TaskReport report =
      report_task(tasks_[part].task, requests, tasks_[part].generation, answers, *setup_.tokenizer, options);
  if (options_.log_samples) write_samples(published, report);
  report.samples = {};
  published.records_of_other_classes.insert(report.records_of_other_classes.begin(),
                                            report.records_of_other_classes.end());
  reports_.push_back(std::move(report));
}

void TaskWork::publish(Published& published, const RunFacts& facts) {
  std::vector<const task::Task*> tasks;
  for (const LoadedTask& loaded : tasks_) tasks.push_back(&loaded.task);
  publish_run(published, reports_, tasks, setup_.selection.groups, facts);
}

}  // namespace evalmpi::eval

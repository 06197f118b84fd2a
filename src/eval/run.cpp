#include "evalmpi/eval/run.h"

#include <filesystem>
#include <functional>
#include <mutex>

#include "evalmpi/base/file.h"
#include "evalmpi/base/log.h"
#include "file_work.h"
#include "one_run.h"
#include "summary.h"
#include "task_work.h"

namespace evalmpi::eval {
namespace {

namespace fs = std::filesystem;

// runs/<what>-<time>, or with a number behind it when that exists.
fs::path new_output_folder(const std::string& what, const std::string& time) {
  const fs::path base = fs::path("runs") / (what + "-" + time);
  fs::path folder = base;
  for (int i = 2; fs::exists(folder); ++i) folder = base.string() + "-" + std::to_string(i);
  return folder;
}

// Several runs one after another, in folders below one.
class Job {
 public:
  Job(comm::Session& session, const JobOptions& options, std::vector<Combination> combinations,
      const RunContext& context, SharedByRuns& shared)
      : session_(session),
        options_(options),
        combinations_(std::move(combinations)),
        context_(context),
        shared_(shared) {}

  ExitCode execute(const fs::path& folder) {
    folder_ = folder;
    check_all();
    open();
    try {
      return run_all();
    } catch (...) {
      const comm::Failure failure = comm::current_failure();
      if (is_root())
        write_status("failed", {{"exit_code", static_cast<int>(failure.code)}, {"error", failure.message}});
      throw;
    }
  }

 private:
  ExitCode run_all() {
    for (; done_ < combinations_.size(); ++done_) {
      if (someone_was_asked_to_stop()) return stopped();
      Combination& combination = combinations_[done_];
      if (is_root() && !options_.each.quiet) {
        log::info("combination {} of {}: {}", done_.load() + 1, combinations_.size(), combination.name);
      }
      combination.options.output = (folder_ / combination.name).string();
      TaskWork work(combination.options);
      const ExitCode code = Run(session_, combination.options, work, context_, shared_).execute();
      if (code != ExitCode::kComplete) return code;
    }
    comm::run_together(session_.world(), "publish the comparison", [&] {
      if (!is_root()) return;
      fmt::print("{}", publish_summary(folder_, combinations_));
      std::fflush(stdout);
      write_status("complete", {});
    });
    return ExitCode::kComplete;
  }

  bool is_root() const { return session_.rank() == 0; }

  // A slip in the last combination is known before the first is computed.
  void check_all() {
    comm::run_together(session_.world(), "read models and tasks", [&] {
      for (const Combination& combination : combinations_) make_setup(combination.options);
    });
  }

  void open() {
    comm::run_together(session_.world(), "open the output folder", [&] {
      if (!is_root()) return;
      JobOptions shown = options_;
      attempt_.emplace(job::Attempt::open({folder_, one_folder_each(), to_json(fields(shown)), {}}));
      shared_.begin_attempt(attempt_->identity());
      std::error_code ignored;
      fs::remove(attempt_->identity().log_directory(), ignored);  // the runs have logs; this folder has none
      shared_.on_status = [this](std::string_view state, const Json& details) { write_status(state, details); };
      write_status("starting", {});
    });
    const Json identity = parse_json(
        session_.world().broadcast_bytes(is_root() ? attempt_->identity().to_json().dump() : "", 0), "attempt");
    if (!is_root()) shared_.begin_attempt(job::AttemptIdentity::from_json(identity));
  }

  bool someone_was_asked_to_stop() {
    return session_.world().all_reduce(int64_t{shared_.stop ? 1 : 0}, comm::Reduce::kMax) > 0;
  }

  ExitCode stopped() {
    if (is_root()) {
      log::warning("stopped early: {} of {} combinations are done; start again with -o {} to go on", done_.load(),
                   combinations_.size(), folder_.string());
      write_status("stopped", {{"exit_code", static_cast<int>(ExitCode::kStoppedEarly)}});
    }
    return ExitCode::kStoppedEarly;
  }

  // `state` and `details` are those of the present run; that it is complete does not make the job so.
  void write_status(std::string_view state, const Json& details) {
    const std::lock_guard lock(status_mutex_);
    const bool are_all_done = done_ == combinations_.size();
    const bool is_complete = are_all_done && state == "complete";
    Json status = {{"combinations", combinations_.size()}, {"combinations_done", done_.load()}};
    if (!are_all_done) {
      status["combination"] = combinations_[done_].name;
      status["run"] = details;
    }
    for (const char* key : {"exit_code", "error"}) {
      if (details.contains(key) && (state == "failed" || state == "stopped")) status[key] = details.at(key);
    }
    if (is_complete) {
      status["exit_code"] = 0;
      status["results"] = {kSummaryCsv, kSummaryMarkdown};
    }
    attempt_->lock().beat();
    attempt_->write_status(state == "complete" && !are_all_done ? "running" : state, status);
  }

  comm::Session& session_;
  const JobOptions& options_;
  std::vector<Combination> combinations_;
  const RunContext& context_;
  SharedByRuns& shared_;
  fs::path folder_;
  std::atomic<size_t> done_ = 0;
  std::mutex status_mutex_;
  std::optional<job::Attempt> attempt_;  // rank 0
};

// While it lives, the watchdog notes in the output folders that it had to end the job.
class NotedEnding {
 public:
  NotedEnding(job::Watchdog* watchdog, SharedByRuns& shared) : watchdog_(watchdog) {
    if (watchdog_ == nullptr) return;
    watchdog_->set_ending([&shared](ExitCode code, const std::string& line) { shared.note_ending(code, line); });
  }
  NotedEnding(const NotedEnding&) = delete;
  NotedEnding& operator=(const NotedEnding&) = delete;
  ~NotedEnding() {
    if (watchdog_ != nullptr) watchdog_->set_ending({});
  }

 private:
  job::Watchdog* watchdog_;
};

// The output folder, and whether it is that of a job of several combinations; rank 0 decides.
struct Output {
  fs::path folder;
  bool is_for_several = false;
};

Output choose_output(comm::Session& session, const std::string& asked, size_t combinations, const RunContext& context) {
  Json chosen;
  comm::run_together(session.world(), "choose the output folder", [&] {
    if (session.rank() != 0) return;
    const fs::path folder = asked.empty() ? new_output_folder(context.what, local_time_id()) : fs::path(asked);
    chosen = {folder.string(), combinations > 1 || holds_combinations(folder)};
  });
  chosen = parse_json(session.world().broadcast_bytes(session.rank() == 0 ? chosen.dump() : "", 0), "output");
  return {chosen.at(0).get<std::string>(), chosen.at(1).get<bool>()};
}

}  // namespace

ExitCode run(comm::Session& session, const JobOptions& options, const RunContext& context) {
  std::vector<Combination> all = combinations(options);
  SharedByRuns shared(options.adapters.size() > 1);
  const job::SignalHandlers handlers(shared.stop);
  const NotedEnding noted(context.watchdog, shared);
  const Output output = choose_output(session, options.each.output, all.size(), context);
  if (output.is_for_several) return Job(session, options, std::move(all), context, shared).execute(output.folder);
  all.front().options.output = output.folder.string();
  TaskWork work(all.front().options);
  return Run(session, all.front().options, work, context, shared).execute();
}

ExitCode run(comm::Session& session, const FileOptions& options, const RunContext& context) {
  SharedByRuns shared(false);
  const job::SignalHandlers handlers(shared.stop);
  const NotedEnding noted(context.watchdog, shared);
  EvalOptions each = options.each;
  const bool has_file_only = each.output.empty() && !options.output_file.empty();
  each.output =
      choose_output(session, has_file_only ? options.output_file + ".run" : each.output, 1, context).folder.string();
  FileWork work(options);
  return Run(session, each, work, context, shared).execute();
}

}  // namespace evalmpi::eval

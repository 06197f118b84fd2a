#pragma once

// One run: a model, its work, an output folder. Its steps follow each other in execute(); one_run.cpp holds those that
// compute, one_run_output.cpp those that open and write the folder, one_run_ending.cpp what it says of itself and how
// it ends.

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "answers.h"
#include "budget.h"
#include "computing.h"
#include "evalmpi/comm/mesh.h"
#include "evalmpi/comm/together.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/device/sampler.h"
#include "evalmpi/eval/run.h"
#include "evalmpi/job/attempt.h"
#include "evalmpi/job/coordinator.h"
#include "evalmpi/job/signals.h"
#include "evalmpi/job/watchdog.h"
#include "evalmpi/job/work_queue.h"
#include "held_weights.h"
#include "live_scores.h"
#include "progress.h"
#include "publish.h"
#include "replica.h"
#include "time_spent.h"
#include "verification.h"
#include "work.h"

namespace evalmpi::eval {

using Clock = std::chrono::steady_clock;

// What status.json says of a part; read by other threads.
struct PartStatus {
  std::string name;
  size_t requests = 0;
  LiveScores::Row scores;
  bool is_done = false;
};

// What the chunks of one log, of one leader, took.
struct LeaderRate {
  int leader = 0;
  double tokens = 0;
  double seconds = 0;
};

// What the runs of one job share in this process.
struct SharedByRuns {
  explicit SharedByRuns(bool has_several_adapters) : weights(has_several_adapters) {}

  job::StopFlag stop;  // its signal handlers are the job's
  HeldWeights weights;
  std::map<std::filesystem::path, Hash128> model_digests;  // rank 0
  // Of this process before it held any weights: set by the first run.
  struct AtStart {
    device::Memory memory;
    int64_t resident_bytes = 0;
    std::optional<std::vector<DeviceSituation>> devices = {};  // of its places; the same for every run of a job
  };
  std::optional<AtStart> at_start;
  int runs_begun = 0;
  // Attempts at work, the folder of several runs first: where a rank notes that it had to end the job.
  std::mutex attempts_mutex;
  std::vector<job::AttemptIdentity> attempts;
  std::optional<comm::Failure> ending;
  // One that begins when the job is already ending (what the others waited for came after all) ends at once.
  void begin_attempt(const job::AttemptIdentity& attempt);
  void note_ending(ExitCode code, const std::string& why);  // any rank, any thread; what cannot be written is left
  // Rank 0, any thread: a run has written this status of itself.
  std::function<void(std::string_view state, const Json& details)> on_status;
};

class Run {
 public:
  // options: of the model, the layout and the output; those of the work are its own.
  Run(comm::Session& session, const EvalOptions& options, Work& work, const RunContext& context, SharedByRuns& shared)
      : session_(session),
        options_(options),
        work_(work),
        context_(context),
        shared_(shared),
        started_(shared.runs_begun++ == 0 ? context.process_start : Clock::now()),
        computing_(context.devices),
        verification_(options.verify.value_or(0)),
        progress_(options.quiet || session.rank() != 0),
        heartbeat_(job::heartbeat_of(context.watchdog, "main")) {}
  ~Run();

  ExitCode execute();

 private:
  bool is_root() const { return session_.rank() == 0; }
  template <class F>
  auto together(std::string_view phase, F f) {
    return comm::run_together(session_.world(), phase, std::move(f));
  }

  // What the main thread does from now on, for the progress line (`what`, if it says more) and the watchdog.
  void enter_phase(const char* phase, const std::string& what = "", job::Judged judged = job::Judged::kHelped);

  void agree_on_devices();
  void watch_devices();
  void read_inputs();
  void choose_budget();
  void probe_devices();
  void gather_peaks();
  std::string out_of_memory_note() const;
  void open_output();
  const std::string& class_here() const;
  ReplicaOptions replica_options() const;
  void read_earlier_logs();
  void plan_parts();
  void ensure_lanes();
  void log_loading() const;  // of this rank's places
  void start_coordinator();
  void finish_parts();
  void stop_lanes();
  void publish();
  Json timings(double now_seconds) const;
  ExitCode agree_on_exit_code();

  Json status_details() const;
  bool write_status(std::string_view state, const Json& details) const;
  [[noreturn]] void fail_now(std::exception_ptr failure);
  void watch_for_stop(const std::stop_token& token);
  void keep_status(const std::stop_token& token);
  Json ranks_status() const;
  Json parts_status() const;
  void note_rate(const job::Receipt& receipt, int64_t tokens);
  void update_live_scores();

  comm::Session& session_;
  const EvalOptions& options_;
  Work& work_;
  const RunContext& context_;
  SharedByRuns& shared_;
  Clock::time_point started_;  // the first run counts from the process's start
  Computing computing_;
  Verification verification_;  // rank 0
  Progress progress_;
  std::shared_ptr<job::Heartbeat> heartbeat_;  // of the main thread

  std::optional<comm::Mesh> mesh_;
  std::vector<RankSituation> ranks_;  // rank 0
  Demand demand_;                     // rank 0
  TokenBudget budget_;
  MemoryFacts memory_;                      // rank 0
  Json device_figures_ = Json::array();     // of all ranks' devices; rank 0
  std::optional<device::Sampler> sampler_;  // of this rank's devices
  model::DType product_type_ = model::DType::kFloat32;
  std::vector<std::string> classes_;  // numerics classes, by replica
  std::string class_name_;            // the first replica's; what others compute is "mixed"
  Hash128 class_hash_;
  Hash128 model_id_;
  Json identities_;  // digests of model and tokenizer

  std::optional<job::Attempt> attempt_;  // rank 0
  job::AttemptIdentity identity_;
  std::unique_ptr<store::LogWriter> log_;
  AnswerTable answers_;
  job::WorkQueue queue_;
  std::unique_ptr<job::CoordinatorThread> coordinator_;
  std::unique_ptr<LocalReplicas> replicas_;
  bool lanes_running_ = false;
  bool has_warned_of_memory_ = false;

  std::vector<TaskRequests> requests_;  // of each part, without tokens; rank 0, main thread
  mutable std::mutex status_file_mutex_;
  mutable std::mutex status_mutex_;
  std::vector<PartStatus> part_status_;
  std::map<std::string, LeaderRate> rates_;  // by log
  std::optional<LiveScores> live_scores_;    // main thread
  Published published_;                      // rank 0
  size_t parts_done_ = 0;
  // From started_.
  double inputs_read_seconds_ = 0;
  double first_chunk_seconds_ = 0;
  std::atomic<double> last_record_seconds_ = 0;
  double prompts_and_plan_seconds_ = 0;  // of all parts
  std::atomic<bool> is_failing_{false};
};

}  // namespace evalmpi::eval

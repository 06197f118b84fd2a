#include "evalmpi/eval/run.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "answers.h"
#include "budget.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/log.h"
#include "evalmpi/comm/mesh.h"
#include "evalmpi/comm/together.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/job/attempt.h"
#include "evalmpi/job/coordinator.h"
#include "evalmpi/job/signals.h"
#include "evalmpi/job/work_queue.h"
#include "evalmpi/model/adapter.h"
#include "evalmpi/model/weights.h"
#include "evalmpi/store/status_file.h"
#include "outputs.h"
#include "progress.h"
#include "publish.h"
#include "replica.h"
#include "results.h"
#include "setup.h"
#include "workload.h"

namespace evalmpi::eval {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// What a task needs from planning to its report.
struct TaskState {
  LoadedTask loaded;
  TaskRequests requests;  // rank 0; without tokens once planned
};

// What status.json says of a task; read by other threads.
struct TaskStatus {
  std::string name;
  size_t requests = 0;
};

class Run {
 public:
  Run(comm::Session& session, const EvalOptions& options, const RunContext& context)
      : session_(session), options_(options), context_(context), progress_(options.quiet || session.rank() != 0) {}

  ExitCode execute();

 private:
  bool is_root() const { return session_.rank() == 0; }
  template <class F>
  auto together(std::string_view phase, F f) {
    return comm::run_together(session_.world(), phase, std::move(f));
  }

  void read_inputs();
  void choose_budget();
  void gather_peaks();
  std::string out_of_memory_note() const;
  void open_output();
  void read_earlier_logs();
  void plan_tasks();
  void ensure_lanes();
  void log_loading() const;  // of this rank's places
  void start_coordinator();
  void finish_tasks();
  void stop_lanes();
  void publish();
  Json timings(double now_seconds) const;
  ExitCode agree_on_exit_code();

  Json status_details() const;
  [[noreturn]] void fail_now(std::exception_ptr failure);
  void watch_for_stop(const std::stop_token& token);

  comm::Session& session_;
  const EvalOptions& options_;
  const RunContext& context_;
  Progress progress_;
  job::StopFlag stop_;

  Setup setup_;
  std::optional<comm::Mesh> mesh_;
  std::vector<RankSituation> ranks_;  // rank 0
  Demand demand_;                     // rank 0
  TokenBudget budget_;
  MemoryFacts memory_;  // rank 0
  std::string class_name_;
  Hash128 class_hash_;
  Hash128 model_id_;
  Json identities_;  // digests of model and tokenizer

  std::optional<job::Attempt> attempt_;  // rank 0
  job::AttemptIdentity identity_;
  std::unique_ptr<store::LogWriter> log_;
  AnswerTable answers_;
  job::WorkQueue queue_;
  std::unique_ptr<job::Coordinator> coordinator_;
  std::unique_ptr<LocalReplicas> replicas_;
  bool lanes_running_ = false;
  bool has_warned_of_memory_ = false;

  std::vector<TaskState> tasks_;  // main thread
  mutable std::mutex status_mutex_;
  std::vector<TaskStatus> task_status_;
  Published published_;  // rank 0
  size_t tasks_done_ = 0;
  // From process start.
  double inputs_read_seconds_ = 0;
  double first_chunk_seconds_ = 0;
  std::atomic<double> last_record_seconds_ = 0;
  double prompts_and_plan_seconds_ = 0;  // of all tasks
  std::atomic<bool> is_failing_{false};
};

ExitCode Run::execute() {
  const job::SignalHandlers handlers(stop_);
  std::optional<std::jthread> watcher;
  try {
    mesh_ = comm::make_mesh(session_, {options_.tp, options_.pp, options_.dp, std::nullopt, options_.threads_per_lane,
                                       std::nullopt});
    read_inputs();
    inputs_read_seconds_ = seconds_since(context_.process_start);
    choose_budget();
    open_output();
    watcher.emplace([this](const std::stop_token& token) { watch_for_stop(token); });
    read_earlier_logs();
    plan_tasks();
    finish_tasks();
    stop_lanes();
    gather_peaks();
    together("publish results", [&] {
      if (is_root() && tasks_done_ == tasks_.size()) publish();
    });
    watcher.reset();  // from here on the main thread says how it ended
    return agree_on_exit_code();
  } catch (...) {
    if (lanes_running_) fail_now(std::current_exception());
    if (attempt_) {
      const comm::Failure failure = comm::current_failure();
      try {
        attempt_->write_status("failed", {{"exit_code", static_cast<int>(failure.code)}, {"error", failure.message}});
      } catch (const Error& error) {
        log::warning("status.json could not be written: {}", error.what());
      }
    }
    throw;
  }
}

void Run::read_inputs() {
  progress_.phase("reading the model's description and the tasks");
  together("read model and tasks", [&] { setup_ = make_setup(options_); });
  class_name_ = numerics_class(mesh_->tp, mesh_->pp);
  class_hash_ = hash128(class_name_);
  progress_.end_line();
  if (is_root() && !options_.quiet) log::info("{}", mesh_->description);
}

// Before weights are read: rank 0 hears what every rank's host has, and says how many rows a segment has.
void Run::choose_budget() {
  RankSituation mine{session_.host_name(), device::memory(), device::resident_bytes(), {}, {}};
  for (const comm::LocalPlace& place : mesh_->places) {
    mine.tp_ranks.push_back(place.tp_rank);
    mine.lanes.push_back(static_cast<int>(place.lanes.size()));
  }
  const std::vector<std::string> all = session_.world().gather(to_json(mine).dump(), 0);
  together("choose the token budget", [&] {
    if (!is_root()) return;
    for (const std::string& rank : all) ranks_.push_back(rank_situation_from_json(parse_json(rank, "rank")));
    budget_ = choose_token_budget(setup_.options.token_budget, setup_.spec, options_.tp, ranks_);
    if (budget_.warning) log::warning("{}", *budget_.warning);
    if (!options_.batch_size.empty() && !options_.quiet) log::info("{}", batch_size_note(options_.batch_size, budget_.rows));
  });
  budget_.rows = parse_json(session_.world().broadcast_bytes(is_root() ? Json(budget_.rows).dump() : "", 0), "budget");
}

// runs/<what>-<time>, or with a number behind it when that exists.
fs::path new_output_folder(const std::string& what, const std::string& time) {
  const fs::path base = fs::path("runs") / (what + "-" + time);
  fs::path folder = base;
  for (int i = 2; fs::exists(folder); ++i) folder = base.string() + "-" + std::to_string(i);
  return folder;
}

void Run::open_output() {
  published_.time_id = local_time_id();
  together("open the output folder", [&] {
    if (!is_root()) return;
    Hash128 model_digest = model::model_digest(setup_.model_folder, device::usable_cores());
    if (setup_.spec.adapter) model_digest = Hasher().add(model_digest).add(setup_.spec.adapter->digest()).finish();
    model_id_ = Hasher().add(model_digest).add(setup_.tokenizer->digest()).finish();
    identities_ = {{"model_digest", model_digest.hex()}, {"tokenizer_digest", setup_.tokenizer->digest().hex()}};
    job::AttemptOptions attempt;
    attempt.directory = options_.output.empty() ? new_output_folder(context_.what, published_.time_id) : fs::path(options_.output);
    attempt.must_match = identities_;
    EvalOptions shown = options_;
    attempt.may_differ = to_json(fields(shown));
    attempt_.emplace(job::Attempt::open(attempt));
    identity_ = attempt_->identity();
    attempt_->write_status("starting", status_details());
    job::place_token_file(identity_);
  });
  const Json shared = parse_json(
      session_.world().broadcast_bytes(is_root() ? Json{{"attempt", identity_.to_json()}, {"time", published_.time_id}}.dump() : "", 0),
      "attempt");
  identity_ = job::AttemptIdentity::from_json(shared["attempt"]);
  published_.time_id = shared["time"];
  published_.directory = identity_.directory;
  const bool has_leader = std::any_of(mesh_->places.begin(), mesh_->places.end(),
                                      [](const comm::LocalPlace& place) { return place.tp_rank == 0; });
  together("find the output folder", [&] {
    if (has_leader) job::check_token_file(identity_, session_.rank());
    if (has_leader) {
      // Neither copied nor moved: the log is made in place.
      log_.reset(new store::LogWriter(job::open_log(
          identity_, session_.rank(), {{"numerics_class", class_name_}, {"numerics_class_hash", class_hash_.hex()}})));
    }
  });
  if (is_root()) job::remove_token_file(identity_);
  replicas_ = std::make_unique<LocalReplicas>(
      *mesh_, ReplicaOptions{setup_.model_folder, setup_.spec, budget_.rows, options_.threads_per_lane, class_hash_});
  // A resume may have nothing to compute; it reads the weights when a chunk is missing.
  if (identity_.number == 0) replicas_->begin_loading();
}

void Run::read_earlier_logs() {
  answers_.name_class(class_hash_, class_name_);
  together("read the logs of earlier attempts", [&] {
    if (!is_root() || !attempt_->is_resume()) return;
    attempt_->read_logs([&](const std::string& log_name, const Json& header, std::string_view payload,
                            const store::LogPosition& position) {
      const engine::ChunkRecord record = engine::decode_record(payload);
      answers_.name_class(record.numerics_class, header.value("numerics_class", record.numerics_class.hex()));
      answers_.add(log_name, position, record, class_hash_);
    });
  });
}

void Run::plan_tasks() {
  const std::optional<Hash128> only = options_.strict ? std::optional(class_hash_) : std::nullopt;
  const int threads = std::max(1, device::usable_cores() / session_.local_size());
  tasks_.reserve(setup_.selection.tasks.size());
  for (const task::TaskConfig& config : setup_.selection.tasks) {
    progress_.phase(fmt::format("reading {}", config.name));
    const auto task_start = Clock::now();
    TaskState state{together("read task " + config.name, [&] { return load_task(setup_, config); }), {}};
    state.requests = encode_task(session_.world(), state.loaded.task, *setup_.encoder, state.loaded.generation, model_id_, threads);
    int64_t missing = 0;
    together("plan task " + config.name, [&] {
      if (!is_root()) return;
      PlannedTask planned = plan_task(state.requests, state.loaded.generation, budget_.rows,
                                      [&](const Hash128& key) { return answers_.knows(key, only); });
      missing = static_cast<int64_t>(planned.missing.size());
      {
        const std::lock_guard lock(status_mutex_);
        demand_.add(state.requests, state.loaded, planned);
      }
      const auto warning = check_memory(setup_.spec, options_.tp, ranks_, budget_.rows, demand_);
      if (warning && !std::exchange(has_warned_of_memory_, true)) log::warning("{}", *warning);
      answers_.expect(static_cast<int>(tasks_.size()), planned.missing);
      published_.tokens.naive += planned.naive_tokens;
      published_.tokens.distinct += planned.distinct_tokens;
      std::vector<job::WorkItem> items;
      for (engine::PlannedChunk& chunk : planned.plan.chunks) {
        items.push_back({{}, chunk.prefix, chunk.cost_tokens, chunk.trunk_tokens, std::move(chunk.payload)});
      }
      published_.task_tokens.push_back({planned.naive_tokens, planned.distinct_tokens, 0});
      state.requests.tokens = {};
      if (!items.empty()) queue_.add(std::move(items));
    });
    {
      const std::lock_guard lock(status_mutex_);
      task_status_.push_back({config.name, state.requests.size()});
    }
    tasks_.push_back(std::move(state));
    prompts_and_plan_seconds_ += seconds_since(task_start);
    missing = session_.world().all_reduce(missing, comm::Reduce::kMax);
    if (missing > 0) ensure_lanes();
  }
  queue_.close();
}

void Run::log_loading() const {
  for (const LocalReplicas::Loading& loading : replicas_->loadings()) {
    log::info("read {} of weights in {:.3f} s with {} thread{}", bytes_text(static_cast<int64_t>(loading.bytes_read)),
              loading.seconds, loading.threads, loading.threads > 1 ? "s" : "");
  }
}

void Run::ensure_lanes() {
  if (lanes_running_) return;
  progress_.phase("reading the weights");
  together("read weights", [&] {
    try {
      replicas_->finish_loading();
    } catch (...) {
      const comm::Failure cause = comm::current_failure();
      if (cause.code != ExitCode::kUnavailable) throw;
      fail(cause.code, "{}{}", cause.message, out_of_memory_note());
    }
  });
  if (options_.timings) log_loading();
  if (is_root()) start_coordinator();
  lanes_running_ = true;
  if (is_root()) first_chunk_seconds_ = seconds_since(context_.process_start);
  replicas_->start(session_, stop_, *setup_.tokenizer, log_.get(), [this](std::exception_ptr failure) { fail_now(failure); });
}

// Saving and publishing take seconds; the attempt stops that much before its time is over.
std::optional<Clock::time_point> deadline(const EvalOptions& options, const comm::Launch& launch, Clock::time_point start) {
  std::optional<Clock::time_point> earliest;
  if (options.max_hours) {
    earliest = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(*options.max_hours * 3600 * 0.99));
  }
  if (launch.job_end_unix_seconds) {
    constexpr int64_t kMarginSeconds = 30;
    const int64_t left = *launch.job_end_unix_seconds - static_cast<int64_t>(std::time(nullptr)) - kMarginSeconds;
    const auto job_end = Clock::now() + std::chrono::seconds(left);
    earliest = earliest ? std::min(*earliest, job_end) : job_end;
  }
  return earliest;
}

void Run::start_coordinator() {
  job::CoordinatorOptions options;
  options.num_workers = LocalReplicas::worker_count(*mesh_);
  for (size_t replica = 0; replica < mesh_->lanes_of_replica.size(); ++replica) {
    options.replica_of_worker.insert(options.replica_of_worker.end(),
                                     static_cast<size_t>(mesh_->lanes_of_replica[replica]), static_cast<int>(replica));
  }
  options.deadline = deadline(options_, session_.launch(), context_.process_start);
  options.on_record = [this](const job::Receipt& receipt) {
    const engine::ChunkRecord record = engine::decode_record(receipt.record);
    last_record_seconds_ = seconds_since(context_.process_start);
    answers_.count_computed(record.computed_tokens);
    answers_.add(receipt.log_name, receipt.position, record, class_hash_);
  };
  options.on_tick = [this, last_status = Clock::time_point{}]() mutable {
    progress_.update(queue_.counts());
    if (Clock::now() - last_status < std::chrono::seconds(3)) return;
    last_status = Clock::now();
    attempt_->lock().beat();
    attempt_->write_status("running", status_details());
  };
  coordinator_ = std::make_unique<job::Coordinator>(session_.port(), queue_, stop_, std::move(options));
}

Json Run::status_details() const {
  Json tasks = Json::object();
  {
    const std::lock_guard lock(status_mutex_);
    for (size_t i = 0; i < task_status_.size(); ++i) {
      tasks[task_status_[i].name] = {{"requests", task_status_[i].requests}, {"missing", answers_.missing(static_cast<int>(i))}};
    }
  }
  Json details = {{"layout", mesh_->description}, {"records", queue_.counts().completed}, {"progress", progress_.json(queue_.counts())},
                  {"tasks", tasks}, {"numerics_class", class_name_}};
  if (first_chunk_seconds_ > 0) details["start_to_first_chunk_seconds"] = first_chunk_seconds_;
  return details;
}

// On rank 0: each task's report as soon as its last answer is in, in order.
void Run::finish_tasks() {
  if (!is_root()) return;
  // The coordinator ends early when a stop or the clock asks for it; whoever waits for answers must learn of it.
  std::jthread until_coordinator_ends;
  std::exception_ptr coordinator_failure;
  if (coordinator_) {
    until_coordinator_ends = std::jthread([&] {
      try {
        coordinator_->join();
      } catch (...) {
        coordinator_failure = std::current_exception();
      }
      answers_.give_up();
    });
  }
  const ReportOptions report{identity_.log_directory(), class_hash_, options_.bootstrap_iterations, device::usable_cores()};
  for (size_t i = 0; i < tasks_.size() && answers_.wait_for(static_cast<int>(i)); ++i) {
    published_.add(report_task(tasks_[i].loaded.task, tasks_[i].requests, tasks_[i].loaded.generation, answers_, *setup_.tokenizer, report),
                   options_.log_samples);
    tasks_[i].requests = {};
    ++tasks_done_;
  }
  if (until_coordinator_ends.joinable()) until_coordinator_ends.join();
  if (coordinator_failure) std::rethrow_exception(coordinator_failure);
}

void Run::stop_lanes() {
  replicas_->join();
  lanes_running_ = false;
}

std::string Run::out_of_memory_note() const {
  const std::lock_guard lock(status_mutex_);
  return memory_note(setup_.spec, options_.tp, ranks_, budget_.rows, demand_);
}

// COLLECTIVE: what each rank had in memory at most, beside what was predicted for it.
void Run::gather_peaks() {
  const std::vector<std::string> peaks = session_.world().gather(Json(device::peak_resident_bytes()).dump(), 0);
  if (!is_root()) return;
  memory_.token_budget = budget_.rows;
  memory_.why_this_budget = budget_.why;
  for (size_t i = 0; i < peaks.size(); ++i) {
    memory_.predicted_bytes.push_back(rank_memory(setup_.spec, options_.tp, ranks_[i], i == 0, budget_.rows, demand_).total());
    memory_.peak_bytes.push_back(parse_json(peaks[i], "peak"));
  }
}

// Where the time went, as far as the parts follow each other; prompts, plans and reports overlap with scoring.
Json Run::timings(double now_seconds) const {
  return {{"read_inputs_seconds", inputs_read_seconds_},
          {"prompts_and_plan_seconds", prompts_and_plan_seconds_},
          {"start_to_first_chunk_seconds", first_chunk_seconds_},
          {"scoring_seconds", std::max(0.0, last_record_seconds_ - first_chunk_seconds_)},
          {"after_last_record_seconds", last_record_seconds_ > 0 ? now_seconds - last_record_seconds_ : 0.0}};
}

void Run::publish() {
  progress_.end_line();
  published_.tokens.computed = answers_.computed_tokens();
  RunFacts facts;
  facts.options = &options_;
  facts.setup = &setup_;
  facts.layout = mesh_->description;
  facts.numerics_class = class_name_;
  facts.identities = identities_;
  facts.host = session_.host_name();
  facts.attempt = identity_.number;
  facts.run_id = identity_.run_id;
  facts.seconds = seconds_since(context_.process_start);
  facts.first_chunk_seconds = first_chunk_seconds_;
  facts.timings = timings(facts.seconds);
  facts.bytes_read = replicas_->bytes_read();
  facts.memory = memory_;
  std::vector<const task::Task*> tasks;
  for (const TaskState& state : tasks_) tasks.push_back(&state.loaded.task);
  publish_run(published_, tasks, setup_.selection.groups, facts);
}

ExitCode Run::agree_on_exit_code() {
  const bool is_complete = !is_root() || tasks_done_ == tasks_.size();
  if (is_root() && !is_complete) {
    progress_.end_line();
    const job::WorkQueue::Counts counts = queue_.counts();
    const std::string why = coordinator_ && coordinator_->stopped_by_deadline() ? "the time is nearly over"
                            : stop_.signal() != 0 ? fmt::format("signal {}", stop_.signal()) : "asked to stop";
    log::warning("stopped early ({}): {} of {} chunks are done and saved; start again with -o {} to go on", why,
                 counts.completed, counts.added, identity_.directory.string());
    Json details = status_details();
    details["exit_code"] = static_cast<int>(ExitCode::kStoppedEarly);
    attempt_->write_status("stopped", details);
  }
  if (is_root() && is_complete) {
    Json details = status_details();
    details["exit_code"] = 0;
    details["results"] = published_.files;
    attempt_->write_status("complete", details);
  }
  const int64_t stopped = session_.world().all_reduce(int64_t{is_complete ? 0 : 1}, comm::Reduce::kMax);
  return stopped > 0 ? ExitCode::kStoppedEarly : ExitCode::kComplete;
}

// Ends the job from any thread of it: one message, status.json, then everybody.
void Run::fail_now(std::exception_ptr failure) {
  if (is_failing_.exchange(true)) {
    while (true) ::pause();  // another thread of this process is already ending it
  }
  comm::Failure cause;
  try {
    std::rethrow_exception(failure);
  } catch (...) {
    cause = comm::current_failure();
  }
  if (cause.code == ExitCode::kUnavailable && cause.message == "out of memory") {
    cause.message += out_of_memory_note();
  }
  progress_.end_line();
  log::error("{}", cause.message);
  if (attempt_) {
    try {
      Json details = status_details();
      details["exit_code"] = static_cast<int>(cause.code);
      details["error"] = cause.message;
      attempt_->write_status("failed", details);
    } catch (const Error&) {
      // The first message has said what matters; a full disk may well be the cause.
    }
  }
  session_.abort(cause.code);
}

// TERM and INT leave about a second: what is logged is durable already, so the job notes where it stands and ends.
void Run::watch_for_stop(const std::stop_token& token) {
  while (!token.stop_requested()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (!stop_.now()) continue;
    // Rank 0 writes the status; the others give it the time to, in case the signal reached all of them.
    if (!is_root()) std::this_thread::sleep_for(std::chrono::milliseconds(500));
    if (is_failing_.exchange(true)) return;
    if (attempt_) {
      progress_.end_line();
      try {
        Json details = status_details();
        details["exit_code"] = static_cast<int>(ExitCode::kStoppedEarly);
        attempt_->write_status("stopped", details);
      } catch (const Error& error) {
        log::error("{}", error.what());
      }
      log::warning("stopped by signal {}: {} chunks are saved; start again with -o {} to go on", stop_.signal(),
                   queue_.counts().completed, identity_.directory.string());
    }
    session_.abort(ExitCode::kStoppedEarly);
  }
}

}  // namespace

ExitCode run(comm::Session& session, const EvalOptions& options, const RunContext& context) {
  return Run(session, options, context).execute();
}

}  // namespace evalmpi::eval

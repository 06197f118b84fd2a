#include "one_run.h"

#include <algorithm>
#include <ctime>
#include <thread>

#include "evalmpi/base/log.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/ops/kernels.h"
#include "results.h"

namespace evalmpi::eval {

Run::~Run() {
  const std::lock_guard lock(shared_.attempts_mutex);
  std::erase_if(shared_.attempts,
                [this](const job::AttemptIdentity& attempt) { return attempt.directory == identity_.directory; });
}

void Run::enter_phase(const char* phase, const std::string& what, job::Judged judged) {
  progress_.phase(what.empty() ? phase : what);
  heartbeat_->enter(phase, judged);
}

ExitCode Run::execute() {
  std::optional<std::jthread> watcher, status_keeper;
  try {
    agree_on_devices();
    mesh_ = comm::make_mesh(session_, computing_.layout(options_));
    watch_devices();
    read_inputs();
    inputs_read_seconds_ = seconds_since(started_);
    choose_budget();
    enter_phase("opening the output folder");
    open_output();
    watcher.emplace([this](const std::stop_token& token) { watch_for_stop(token); });
    if (is_root()) status_keeper.emplace([this](const std::stop_token& token) { keep_status(token); });
    enter_phase("reading the logs of earlier attempts");
    read_earlier_logs();
    plan_parts();
    finish_parts();
    stop_lanes();
    gather_peaks();
    heartbeat_->enter("publishing", job::Judged::kHelped);
    together("publish results", [&] {
      if (is_root() && parts_done_ == requests_.size()) publish();
    });
    heartbeat_->enter("ending", job::Judged::kHelped);
    status_keeper.reset();
    watcher.reset();  // from here on the main thread says how it ended
    return agree_on_exit_code();
  } catch (...) {
    if (lanes_running_) fail_now(std::current_exception());
    if (attempt_) {
      const comm::Failure failure = comm::current_failure();
      try {
        write_status("failed", {{"exit_code", static_cast<int>(failure.code)}, {"error", failure.message}});
      } catch (const Error& error) {
        log::warning("status.json could not be written: {}", error.what());
      }
    }
    throw;
  }
}

void Run::agree_on_devices() {
  std::optional<std::string> note;
  computing_.agree(session_, note);
  if (!is_root() || options_.quiet) return;
  if (note) log::info("{}", *note);
  if (const std::string idle = computing_.without_effect(options_); !idle.empty())
    log::info("the CPU computes, so these have no effect: {}", idle);
}

void Run::watch_devices() {
  std::vector<device::Device> devices;
  for (const comm::LocalPlace& place : mesh_->places) {
    const auto is_same = [&](const device::Device& known) { return known.identity == place.device.identity; };
    if (std::none_of(devices.begin(), devices.end(), is_same)) devices.push_back(place.device);
  }
  sampler_.emplace(devices);
}

void Run::read_inputs() {
  enter_phase("reading the model's description and what to ask");
  work_.read(session_.world());
  const std::string note = adapter_note(work_.setup());
  if (is_root() && !options_.quiet && !note.empty()) log::info("{}", note);
  together("choose the arithmetic",
           [&] { product_type_ = product_type(options_, work_.setup().spec, computing_.device().kind); });
  const Arithmetic arithmetic{product_type_, options_.fast_kernels, options_.fast_reduce};
  ops::use_fast_kernels(options_.fast_kernels);
  classes_ = classes_of_replicas(session_, *mesh_, arithmetic);
  class_name_ = classes_.front();
  class_hash_ = hash128(class_name_);
  progress_.end_line();
  if (is_root() && !options_.quiet) {
    log::info("{}", mesh_->description);
    for (const std::string& note : work_.setup().selection.notes) log::info("{}", note);
    for (const std::string& changed : work_.setup().selection.changed_functions)
      log::warning("{}; --strict-functions stops here", changed);
  }
}

// Before weights are read: rank 0 hears what every rank's host has, and says how many rows a segment has.
void Run::choose_budget() {
  if (!shared_.at_start) shared_.at_start = {device::memory(), device::resident_bytes()};
  RankSituation mine{session_.host_name(), shared_.at_start->memory, shared_.at_start->resident_bytes, {}, {}, {}};
  for (const comm::LocalPlace& place : mesh_->places) {
    mine.tp_ranks.push_back(place.tp_rank);
    mine.lanes.push_back(static_cast<int>(place.lanes.size()));
  }
  together("look at the devices", [&] {
    if (!shared_.at_start->devices) shared_.at_start->devices = computing_.situations(mesh_->places, product_type_);
    mine.devices = *shared_.at_start->devices;
    for (DeviceSituation& device : mine.devices) device.product_type = product_type_;
  });
  const std::vector<std::string> all = session_.world().gather(to_json(mine).dump(), 0);
  together("choose the token budget", [&] {
    if (!is_root()) return;
    for (const std::string& rank : all) ranks_.push_back(rank_situation_from_json(parse_json(rank, "rank")));
    budget_ = choose_token_budget(work_.setup().options.token_budget, work_.setup().spec, options_.tp, ranks_);
    if (budget_.warning) log::warning("{}", *budget_.warning);
    if (computing_.is_on_devices()) work_.set_slot_room(room_on_devices(work_.setup().spec, options_.tp, ranks_));
    if (!options_.batch_size.empty() && !options_.quiet)
      log::info("{}", batch_size_note(options_.batch_size, budget_.rows));
  });
  budget_.rows = parse_json(session_.world().broadcast_bytes(is_root() ? Json(budget_.rows).dump() : "", 0), "budget");
}

void Run::plan_parts() {
  const std::optional<Hash128> only = options_.strict ? std::optional(class_hash_) : std::nullopt;
  const int threads = std::max(1, device::usable_cores() / session_.local_size());
  const model::ModelSpec& spec = work_.setup().spec;
  requests_.reserve(work_.parts());
  for (size_t part = 0; part < work_.parts(); ++part) {
    const std::string name = work_.name(part);
    enter_phase("reading and planning", fmt::format("reading {}", name));
    const auto part_start = Clock::now();
    together("read " + name, [&] { work_.load(part); });
    if (is_root() && options_.write_out) {
      progress_.end_line();
      fmt::print("{}", work_.first_prompt(part));
    }
    TaskRequests requests = work_.encode(session_.world(), part, model_id_, threads);
    int64_t missing = 0;
    together("plan " + name, [&] {
      if (!is_root()) return;
      PlannedTask planned = plan_task(requests, work_.generation(part), budget_.rows,
                                      [&](const Hash128& key) { return answers_.knows(key, only); });
      missing = static_cast<int64_t>(planned.missing.size());
      {
        const std::lock_guard lock(status_mutex_);
        demand_.add(requests, work_.document_bytes(part), work_.generation(part), planned);
      }
      const auto warning = check_memory(spec, options_.tp, ranks_, budget_.rows, demand_);
      if (warning && !std::exchange(has_warned_of_memory_, true)) log::warning("{}", *warning);
      answers_.expect(static_cast<int>(part), planned.missing);
      published_.tokens.naive += planned.naive_tokens;
      published_.tokens.distinct += planned.distinct_tokens;
      std::vector<job::WorkItem> items;
      for (engine::PlannedChunk& chunk : planned.plan.chunks) {
        items.push_back({{},
                         chunk.prefix,
                         chunk.cost_tokens,
                         chunk.trunk_tokens,
                         std::move(chunk.payload),
                         verification_.chooses_next()});
      }
      published_.part_tokens.push_back({planned.naive_tokens, planned.distinct_tokens, 0});
      requests.tokens = {};
      if (!items.empty()) queue_.add(std::move(items));
    });
    {
      const std::lock_guard lock(status_mutex_);
      part_status_.push_back({name, requests.size(), {}, false});
    }
    requests_.push_back(std::move(requests));
    prompts_and_plan_seconds_ += seconds_since(part_start);
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
  enter_phase("reading the weights");
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
  probe_devices();
  if (is_root()) start_coordinator();
  lanes_running_ = true;
  if (is_root()) first_chunk_seconds_ = seconds_since(started_);
  replicas_->start(session_, shared_.stop, *work_.setup().tokenizer, log_.get(), context_.watchdog,
                   [this](std::exception_ptr failure) { fail_now(failure); });
}

// COLLECTIVE: with weights and the first parts' keys and values in place, how large a step may be.
void Run::probe_devices() {
  if (!computing_.is_on_devices()) return;
  enter_phase("trying the largest step");
  Json shared = {budget_.rows, demand_.generation_paths, demand_.positions};
  shared = parse_json(session_.world().broadcast_bytes(is_root() ? shared.dump() : "", 0), "demand");
  Demand demand;
  demand.generation_paths = shared.at(1);
  demand.positions = shared.at(2);
  const int64_t asked = shared.at(0);
  int64_t rows = 0;
  together("try the largest step", [&] { rows = replicas_->probe(asked, demand); });
  rows = session_.world().all_reduce(rows, comm::Reduce::kMin);
  together("try the largest step", [&] {
    if (rows == 0)
      fail(ExitCode::kUnavailable, "out of memory: not even the smallest step fits{}", out_of_memory_note());
  });
  if (is_root() && rows < asked) {
    log::warning("devices have no memory for steps of {} rows; they compute {} at a time", asked, rows);
    budget_.why = fmt::format("{} were expected to fit, but did not", asked);
  }
  budget_.rows = rows;
  replicas_->set_token_budget(rows);
}

namespace {

// Saving and publishing take seconds; the attempt stops that much before its time is over.
std::optional<Clock::time_point> deadline(const EvalOptions& options, const comm::Launch& launch,
                                          Clock::time_point start) {
  std::optional<Clock::time_point> earliest;
  if (options.max_hours) {
    earliest = start + std::chrono::duration_cast<Clock::duration>(
                           std::chrono::duration<double>(*options.max_hours * 3600 * 0.99));
  }
  if (launch.job_end_unix_seconds) {
    constexpr int64_t kMarginSeconds = 30;
    const int64_t left = *launch.job_end_unix_seconds - static_cast<int64_t>(std::time(nullptr)) - kMarginSeconds;
    const auto job_end = Clock::now() + std::chrono::seconds(left);
    earliest = earliest ? std::min(*earliest, job_end) : job_end;
  }
  return earliest;
}

}  // namespace

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
    if (const std::optional<uint64_t> first = queue_.checks(receipt.item)) {
      verification_.compare(*first, receipt.log_name, record);
      return;
    }
    if (queue_.is_checked(receipt.item)) verification_.keep(receipt.item, receipt.log_name, record);
    last_record_seconds_ = seconds_since(started_);
    note_rate(receipt, record.computed_tokens);
    answers_.count_computed(record.computed_tokens);
    answers_.add(receipt.log_name, receipt.position, record, class_hash_);
  };
  options.on_tick = [this] { progress_.update(queue_.counts()); };
  coordinator_ = std::make_unique<job::CoordinatorThread>(session_.port(), queue_, shared_.stop, std::move(options));
}

// On rank 0: each part's report as soon as its last answer is in, in order.
void Run::finish_parts() {
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
  const ReportOptions report{identity_.log_directory(), class_hash_, options_.bootstrap_iterations,
                             device::usable_cores()};
  heartbeat_->enter("waiting for answers", job::Judged::kNever);
  live_scores_.emplace(*work_.setup().tokenizer);
  for (size_t part = 0; part < requests_.size(); ++part) {
    live_scores_->add(work_.task(part), requests_[part], work_.generation(part));
  }
  const auto meanwhile = [this] { update_live_scores(); };
  for (size_t part = 0; part < requests_.size() && answers_.wait_for(static_cast<int>(part), meanwhile); ++part) {
    heartbeat_->enter("reporting", job::Judged::kHelped);
    live_scores_->finish(part);
    work_.report(part, requests_[part], answers_, report, published_);
    if (const task::TaskResult* result = work_.result(part)) {
      const std::lock_guard lock(status_mutex_);
      part_status_[part].scores = {result->n_documents, result->n_documents, result->metrics};
      part_status_[part].is_done = true;
    }
    requests_[part] = {};
    ++parts_done_;
    heartbeat_->enter("waiting for answers", job::Judged::kNever);
  }
  if (until_coordinator_ends.joinable()) until_coordinator_ends.join();
  if (coordinator_failure) std::rethrow_exception(coordinator_failure);
}

void Run::stop_lanes() {
  heartbeat_->enter("waiting for the lanes", job::Judged::kNever);
  replicas_->join();
  heartbeat_->enter("waiting for the other ranks", job::Judged::kHelped);
  lanes_running_ = false;
}

}  // namespace evalmpi::eval

// What a run says of itself while it works, and how it ends: complete, stopped, failed.

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <thread>

#include "evalmpi/base/log.h"
#include "one_run.h"

namespace evalmpi::eval {

namespace {

Json to_json(const LiveScores::Row& row) {
  Json metrics = Json::array();
  for (const task::MetricResult& metric : row.metrics) {
    metrics.push_back({{"metric", metric.metric},
                       {"filter", metric.filter},
                       {"value", metric.value},
                       {"standard_error", metric.standard_error ? Json(*metric.standard_error) : Json(nullptr)}});
  }
  return metrics;
}

void note_if_possible(const job::AttemptIdentity& attempt, const comm::Failure& ending) {
  try {
    job::note_ending(attempt, ending.code, ending.message);
  } catch (const Error& error) {
    log::warning("status.json could not be written: {}", error.what());
  }
}

}  // namespace

Json Run::parts_status() const {
  const std::lock_guard lock(status_mutex_);
  Json tasks = Json::object();
  for (size_t i = 0; i < part_status_.size(); ++i) {
    const PartStatus& part = part_status_[i];
    tasks[part.name] = {{"requests", part.requests}, {"missing", answers_.missing(static_cast<int>(i))}};
    if (part.scores.scored == 0) continue;
    tasks[part.name].update({{"documents", part.scores.documents},
                             {"documents_scored", part.scores.scored},
                             {"is_done", part.is_done},
                             {"scores", to_json(part.scores)}});
  }
  return tasks;
}

// The hosts, the rank that was silent for longest, and the leader whose chunks take longest for their tokens.
Json Run::ranks_status() const {
  Json ranks = {{"count", session_.size()}};
  std::map<int, std::string> host_of_rank{{session_.rank(), session_.host_name()}};
  if (context_.roll_call != nullptr && session_.size() > 1) {
    const std::vector<job::RankSign> signs = context_.roll_call->ranks();
    size_t quietest = 0;
    for (size_t rank = 0; rank < signs.size(); ++rank) {
      host_of_rank[static_cast<int>(rank)] = signs[rank].home.host;
      if (signs[rank].silent_seconds > signs[quietest].silent_seconds) quietest = rank;
    }
    const job::RankSign& sign = signs[quietest];
    ranks["quietest"] = {{"rank", quietest},
                         {"host", sign.home.host},
                         {"process", sign.home.pid},
                         {"silent_seconds", sign.silent_seconds},
                         {"last", describe(sign.thread)}};
  }
  Json hosts = Json::array();
  for (const auto& [rank, host] : host_of_rank) {
    if (std::find(hosts.begin(), hosts.end(), host) == hosts.end()) hosts.push_back(host);
  }
  ranks["hosts"] = hosts;
  const std::lock_guard lock(status_mutex_);
  const LeaderRate* slowest = nullptr;
  const LeaderRate* fastest = nullptr;
  const auto rate = [](const LeaderRate& leader) { return leader.tokens / leader.seconds; };
  for (const auto& [log, leader] : rates_) {
    if (!(leader.seconds > 0)) continue;
    if (slowest == nullptr || rate(leader) < rate(*slowest)) slowest = &leader;
    if (fastest == nullptr || rate(leader) > rate(*fastest)) fastest = &leader;
  }
  if (slowest != fastest) {
    const auto host = host_of_rank.find(slowest->leader);
    ranks["slowest"] = {{"rank", slowest->leader},
                        {"host", host == host_of_rank.end() ? "" : host->second},
                        {"tokens_per_second", rate(*slowest)},
                        {"of_the_fastest", rate(*slowest) / rate(*fastest)}};
  }
  return ranks;
}

void Run::note_rate(const job::Receipt& receipt, int64_t tokens) {
  const std::lock_guard lock(status_mutex_);
  const auto [found, is_new] = rates_.try_emplace(receipt.log_name);
  if (is_new) found->second.leader = store::parse_log_name(receipt.log_name).value_or(store::LogName{}).leader;
  found->second.tokens += static_cast<double>(tokens);
  found->second.seconds += receipt.seconds;
}

void Run::update_live_scores() {
  const double allowed = kLiveScoresShare * (seconds_since(started_) - first_chunk_seconds_);
  const std::vector<size_t> changed = live_scores_->update(answers_, identity_.log_directory(), allowed);
  const std::lock_guard lock(status_mutex_);
  for (const size_t task : changed) part_status_[task].scores = live_scores_->row(task);
}

// On rank 0, in its own thread: shows others that the run lives, also while it plans and publishes.
void Run::keep_status(const std::stop_token& token) {
  constexpr std::chrono::seconds kEvery{3};
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  try {
    while (!never.wait_for(lock, token, kEvery, [&token] { return token.stop_requested(); })) {
      if (is_failing_) continue;
      attempt_->lock().beat();
      write_status("running", status_details());
    }
  } catch (...) {
    fail_now(std::current_exception());
  }
}

Json Run::status_details() const {
  Json details = {{"layout", mesh_->description},
                  {"records", queue_.counts().completed},
                  {"progress", progress_.json(queue_.counts())},
                  {"tasks", parts_status()},
                  {"ranks", ranks_status()},
                  {"numerics_class", class_name_}};
  if (first_chunk_seconds_ > 0) details["start_to_first_chunk_seconds"] = first_chunk_seconds_;
  return details;
}

bool Run::write_status(std::string_view state, const Json& details) const {
  const std::lock_guard lock(status_file_mutex_);
  const bool is_first = attempt_->write_status(state, details);
  if (shared_.on_status) shared_.on_status(state, details);
  return is_first;
}

std::string Run::out_of_memory_note() const {
  const std::lock_guard lock(status_mutex_);
  return memory_note(work_.setup().spec, options_.tp, ranks_, budget_.rows, demand_);
}

ExitCode Run::agree_on_exit_code() {
  const bool is_complete = !is_root() || parts_done_ == requests_.size();
  if (is_root() && !is_complete) {
    progress_.end_line();
    const job::WorkQueue::Counts counts = queue_.counts();
    const std::string why = coordinator_ && coordinator_->stopped_by_deadline() ? "the time is nearly over"
                            : shared_.stop.signal() != 0 ? fmt::format("signal {}", shared_.stop.signal())
                                                         : "asked to stop";
    log::warning("stopped early ({}): {} of {} chunks are done and saved; start again with -o {} to go on", why,
                 counts.completed, counts.added, identity_.directory.string());
    Json details = status_details();
    details["exit_code"] = static_cast<int>(ExitCode::kStoppedEarly);
    write_status("stopped", details);
  }
  if (is_root() && is_complete) {
    Json details = status_details();
    details["exit_code"] = 0;
    details["results"] = published_.files;
    write_status("complete", details);
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
  if (cause.code == ExitCode::kUnavailable && cause.message.starts_with("out of memory")) {
    cause.message += out_of_memory_note();
  }
  progress_.end_line();
  log::error("{}", cause.message);
  if (attempt_) {
    try {
      Json details = status_details();
      details["exit_code"] = static_cast<int>(cause.code);
      details["error"] = cause.message;
      write_status("failed", details);
    } catch (const Error&) {
      // The first message has said what matters; a full disk may well be the cause.
    }
  }
  session_.abort(cause.code);
}

void SharedByRuns::begin_attempt(const job::AttemptIdentity& attempt) {
  const std::lock_guard lock(attempts_mutex);
  attempts.push_back(attempt);
  if (ending) note_if_possible(attempt, *ending);
}

void SharedByRuns::note_ending(ExitCode code, const std::string& why) {
  const std::lock_guard lock(attempts_mutex);
  if (!ending) ending = {code, why};
  for (const job::AttemptIdentity& attempt : attempts) note_if_possible(attempt, *ending);
}

// TERM and INT leave about a second: what is logged is durable already, so the job notes where it stands and ends.
void Run::watch_for_stop(const std::stop_token& token) {
  while (!token.stop_requested()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (!shared_.stop.now()) continue;
    // Rank 0 writes the status; the others give it the time to, in case the signal reached all of them.
    if (!is_root()) std::this_thread::sleep_for(std::chrono::milliseconds(500));
    if (is_failing_.exchange(true)) return;
    // Where rank 0 could not: it may be what died.
    if (session_.rank() == 1) {
      shared_.note_ending(ExitCode::kStoppedEarly, fmt::format("stopped by signal {}", shared_.stop.signal()));
    }
    if (attempt_) {
      progress_.end_line();
      bool is_first = true;
      try {
        Json details = status_details();
        details["exit_code"] = static_cast<int>(ExitCode::kStoppedEarly);
        details["error"] = fmt::format("stopped by signal {}", shared_.stop.signal());
        is_first = write_status("stopped", details);
      } catch (const Error& error) {
        log::error("{}", error.what());
      }
      if (is_first)
        log::warning("stopped by signal {}: {} chunks are saved; start again with -o {} to go on",
                     shared_.stop.signal(), queue_.counts().completed, identity_.directory.string());
    }
    session_.abort(ExitCode::kStoppedEarly);
  }
}

}  // namespace evalmpi::eval

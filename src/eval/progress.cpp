#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "evalmpi/base/log.h"

namespace evalmpi::eval {
namespace {

constexpr std::chrono::seconds kPlainLineEvery{15};

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Seconds until the rest is done at the rate so far; negative while there is none.
double seconds_left(const job::WorkQueue::Counts& counts, double elapsed_seconds) {
  if (counts.cost_completed <= 0 || elapsed_seconds <= 0) return -1;
  const auto rest = static_cast<double>(counts.cost_added - counts.cost_completed);
  return rest * elapsed_seconds / static_cast<double>(counts.cost_completed);
}

}  // namespace

std::string clock_text(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

Progress::Progress(bool quiet) : quiet_(quiet), is_terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { end_line(); }

void Progress::phase(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (is_terminal_) show(what, true);
}

void Progress::update(const job::WorkQueue::Counts& counts) {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  if (counts.in_flight + counts.completed > 0 && first_chunk_ == Clock::time_point{}) first_chunk_ = now;
  if (counts.added == 0) return;
  const double elapsed = seconds_between(first_chunk_, now);
  const double left = seconds_left(counts, elapsed);
  const double percent = counts.cost_added > 0 ? 100.0 * static_cast<double>(counts.cost_completed) /
                                                     static_cast<double>(counts.cost_added)
                                               : 0;
  std::string line =
      fmt::format("{:.0f} % of {} tokens, {}/{} chunks", percent, counts.cost_added, counts.completed, counts.added);
  if (elapsed > 0 && counts.cost_completed > 0) {
    line += fmt::format(", {:.0f} tokens/s, {} left", static_cast<double>(counts.cost_completed) / elapsed,
                        clock_text(left));
  }
  show(line, now - last_plain_ >= kPlainLineEvery);
}

void Progress::show(const std::string& line, bool is_due) {
  if (quiet_) return;
  if (is_terminal_) {
    std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
    std::fflush(stderr);
    line_open_ = true;
  } else if (is_due) {
    log::info("{}", line);
    last_plain_ = Clock::now();
  }
}

void Progress::end_line() {
  const std::lock_guard lock(mutex_);
  if (!line_open_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  line_open_ = false;
}

Json Progress::json(const job::WorkQueue::Counts& counts) const {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  Json json = {{"chunks", counts.added},
               {"chunks_done", counts.completed},
               {"tokens", counts.cost_added},
               {"tokens_done", counts.cost_completed},
               {"elapsed_seconds", seconds_between(started_, now)}};
  if (first_chunk_ != Clock::time_point{}) {
    json["first_chunk_seconds"] = seconds_between(started_, first_chunk_);
    const double left = seconds_left(counts, seconds_between(first_chunk_, now));
    const double computing = seconds_between(first_chunk_, now);
    if (computing > 0) json["tokens_per_second"] = static_cast<double>(counts.cost_completed) / computing;
    json["left_seconds"] = left < 0 ? Json(nullptr) : Json(left);
  }
  return json;
}

}  // namespace evalmpi::eval

// evalmpi status

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "commands.h"
#include "evalmpi/eval/run_status.h"
#include "option_parser.h"

namespace evalmpi::cli {
namespace {

constexpr const char* kHelp =
    R"(usage: evalmpi status DIR [--watch] [--json]

Shows how far the run in an output folder is, on whatever host it works, or how it ended: state, layout, progress, tasks with
their scores so far, the slowest rank, the last error. It only reads: the run is not disturbed, and no ranks are needed.

Scores of a task that is still computed are over the documents that are done, which are not drawn at random: the
longest are asked first.

A run whose process is gone, or that has given no sign of life for half a minute, is called silent: start it again with the same -o.
)";

constexpr std::chrono::seconds kLookEvery{1};
constexpr std::chrono::seconds kSilence{30};
using Clock = std::chrono::steady_clock;

// Judges a run on another host by this host's own clock: clocks of two hosts may differ by more than the patience.
class Observer {
 public:
  explicit Observer(std::string directory) : directory_(std::move(directory)) {}

  eval::RunStatus look() {
    eval::RunStatus run = eval::read_run_status(directory_);
    const std::string sign = run.heartbeat + run.status.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (sign != last_sign_) {
      const bool is_first = last_sign_.empty();
      last_sign_ = sign;
      last_change_ = Clock::now();
      if (!is_first && run.state == "silent" && !run.heartbeat.empty()) was_seen_alive_ = true;
    }
    if (was_seen_alive_ && run.state == "silent" && Clock::now() - last_change_ < kSilence) run.state = "running";
    return run;
  }

 private:
  std::string directory_;
  std::string last_sign_;
  Clock::time_point last_change_{};
  bool was_seen_alive_ = false;
};

std::string shown(const eval::RunStatus& run, const std::string& directory, bool as_json) {
  return as_json ? eval::to_json(run).dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                 : eval::to_text(run, directory);
}

// Until the run has ended: on a terminal the text is drawn anew, elsewhere a line is printed when something changes.
ExitCode watch(const std::string& directory, bool as_json) {
  const bool is_terminal = ::isatty(STDOUT_FILENO) == 1;
  Observer observer(directory);
  std::string last;
  while (true) {
    const eval::RunStatus run = observer.look();
    if (is_terminal && !as_json) {
      if (!last.empty()) fmt::print("\x1b[{}A\x1b[J", std::count(last.begin(), last.end(), '\n'));
      last = shown(run, directory, false);
      fmt::print("{}", last);
    } else {
      Json changes = run.status;
      changes.erase("time");
      const std::string line =
          as_json ? changes.dump(-1, ' ', false, Json::error_handler_t::replace) : eval::summary_line(run);
      if (line != last) {
        fmt::print("{}\n", as_json ? eval::to_json(run).dump(-1, ' ', false, Json::error_handler_t::replace) : line);
      }
      last = line;
    }
    std::fflush(stdout);
    if (const std::optional<ExitCode> code = eval::outcome(run)) return *code;
    std::this_thread::sleep_for(kLookEvery);
  }
}

}  // namespace

ExitCode status_command(const Invocation& invocation) {
  bool watches = false, as_json = false;
  std::vector<Field> fields = {
      switch_field("watch", watches, "Go on until the run has ended; the exit code is then the run's.",
                   Affects::kOutput),
      switch_field("json", as_json, "Print status.json with state and age; with --watch a line at each change.",
                   Affects::kOutput)};
  const auto folders = read_folders("status", invocation.arguments, kHelp, {"DIR"}, fields);
  if (!folders) return ExitCode::kComplete;
  const std::string& directory = folders->front();
  if (watches) return watch(directory, as_json);
  fmt::print("{}", shown(eval::read_run_status(directory), directory, as_json));
  return ExitCode::kComplete;
}

}  // namespace evalmpi::cli

#include <sys/stat.h>

#include <algorithm>

#include "commands.h"
#include "evalmpi/base/fields.h"
#include "evalmpi/base/log.h"
#include "evalmpi/comm/launch.h"
#include "evalmpi/comm/together.h"

namespace {

using evalmpi::ExitCode;
using evalmpi::cli::Invocation;

struct Command {
  const char* name;
  const char* summary;
  ExitCode (*run)(const Invocation&);
};

constexpr Command kCommands[] = {
    {"eval", "score a model on tasks", evalmpi::cli::eval_command},
    {"run", "the same, as lm_eval spells it", evalmpi::cli::eval_command},
    {"generate", "answer the prompts of a file", evalmpi::cli::generate_command},
    {"logprobs", "score the texts of a file: log-likelihoods, perplexity", evalmpi::cli::logprobs_command},
    {"fetch", "download a model and the datasets of tasks from the Hugging Face hub", evalmpi::cli::fetch_command},
    {"plan", "show what eval would do: mesh, shards, memory, tokens, chunks", evalmpi::cli::plan_command},
    {"inspect", "show what a model is, what it takes to run it, and whether evalmpi can",
     evalmpi::cli::inspect_command},
    {"convert", "write a model anew: dtype, file sizes, names", evalmpi::cli::convert_command},
    {"compare", "show where two models or two runs differ", evalmpi::cli::compare_command},
    {"report", "show a run's table again, or make its files anew from its logs", evalmpi::cli::report_command},
    {"score", "score a run's answers again, without a model", evalmpi::cli::score_command},
    {"status", "show how far a run is, or how it ended", evalmpi::cli::status_command},
    {"tasks", "list, show and check tasks", evalmpi::cli::tasks_command},
    {"ls", "tasks list, as lm_eval spells it", evalmpi::cli::ls_command},
    {"validate", "tasks validate, as lm_eval spells it", evalmpi::cli::validate_command},
};

void print_help() {
  fmt::print(
      "evalmpi evaluates language models on one machine or a cluster, under plain srun or mpirun.\n\n"
      "usage: evalmpi COMMAND [options]        evalmpi COMMAND --help\n"
      "       evalmpi [options]                the job file in EVALMPI_JOB, else the built-in demo\n\ncommands:\n");
  for (const Command& command : kCommands) fmt::print("  {:<8} {}\n", command.name, command.summary);
  fmt::print(
      "\nexit codes: 0 complete and verified, 2 usage, 65 bad input, 66 input missing, 69 device or API unavailable,\n"
      "70 internal, 73 cannot write output or output in use, 74 I/O error or disk full, 75 stopped early and saved "
      "(run\n"
      "again), 78 not the run to be resumed; compare alone: 1 they differ\n");
}

ExitCode dispatch(Invocation invocation) {
  if (invocation.arguments.empty()) return evalmpi::cli::default_command(invocation);
  const std::string first = invocation.arguments.front();
  if (first == "--help" || first == "-h" || first == "help") {
    if (evalmpi::comm::speaks_before_init(evalmpi::comm::process_environment())) print_help();
    return ExitCode::kComplete;
  }
  if (first == "--version") {
    fmt::print("evalmpi 0.1.0\n");
    return ExitCode::kComplete;
  }
  if (first.starts_with("-")) return evalmpi::cli::default_command(invocation);
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    names.emplace_back(command.name);
    if (first != command.name) continue;
    invocation.arguments.erase(invocation.arguments.begin());
    return command.run(invocation);
  }
  const auto nearest = evalmpi::nearest_name(first, names);
  evalmpi::fail(ExitCode::kUsage, "unknown command {}{}", first,
                nearest ? "; did you mean " + *nearest + "?" : "; see evalmpi --help");
}

}  // namespace

int main(int argc, char** argv) {
  const auto process_start = std::chrono::steady_clock::now();
  const mode_t user_umask = ::umask(077);
  evalmpi::comm::Failure failure;
  try {
    return static_cast<int>(dispatch({{argv + 1, argv + argc}, process_start, user_umask}));
  } catch (...) {
    failure = evalmpi::comm::current_failure();
  }
  // Only what fails before the ranks know each other gets here; one of them speaks.
  if (evalmpi::comm::speaks_before_init(evalmpi::comm::process_environment()))
    evalmpi::log::error("{}", failure.message);
  return static_cast<int>(failure.code);
}

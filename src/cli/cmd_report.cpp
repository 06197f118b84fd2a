// evalmpi report

#include <fmt/format.h>

#include "commands.h"
#include "evalmpi/eval/report.h"
#include "option_parser.h"

namespace evalmpi::cli {
namespace {

constexpr const char* kHelp =
    R"(usage: evalmpi report DIR [--format text|markdown|csv|json]
       evalmpi report DIR --rebuild

Prints the table of the run in DIR (or of a job of several combinations) from its results.h5, every bit of which is
checked. Needs neither the model nor ranks.

With --rebuild, results.h5, results_*.json and samples_*.jsonl are made anew from the run's logs first: when they were
damaged or deleted, or when the run died after its last answer. That needs the tasks' data and the model's config.json
and tokenizer, but no weights.
)";

}  // namespace

ExitCode report_command(const Invocation& invocation) {
  eval::ReportedRun run;
  std::vector<Field> fields = eval::fields(run);
  const auto folders = read_folders("report", invocation.arguments, kHelp, {"DIR"}, fields);
  if (!folders) return ExitCode::kComplete;
  run.directory = folders->front();
  fmt::print("{}", eval::report(run));
  return ExitCode::kComplete;
}

}  // namespace evalmpi::cli

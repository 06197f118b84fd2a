// evalmpi score

#include <fmt/format.h>

#include "commands.h"
#include "evalmpi/eval/score.h"
#include "option_parser.h"

namespace evalmpi::cli {
namespace {

constexpr const char* kHelp =
    R"(usage: evalmpi score DIR [--tasks A,B] [--include-path DIR] [-o DIR]

Scores again what a model answered, without the model: takes documents and responses from samples_<task>_<time>.jsonl in
DIR and below (of evalmpi, or of lm_eval --log_samples; the newest of each task) and applies filters and metrics of the
task files as they are now. Changed a regex, a metric, a filter? This shows what the scores are with it.

Prints the table. With -o, new samples and results files are written too.
)";

}  // namespace

ExitCode score_command(const Invocation& invocation) {
  eval::ScoreOptions options;
  std::vector<Field> fields = eval::fields(options);
  const auto folders = read_folders("score", invocation.arguments, kHelp, {"DIR"}, fields);
  if (!folders) return ExitCode::kComplete;
  options.directory = folders->front();
  fmt::print("{}", eval::score(options));
  return ExitCode::kComplete;
}

}  // namespace evalmpi::cli

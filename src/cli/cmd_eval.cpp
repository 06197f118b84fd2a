// evalmpi eval, evalmpi plan, and evalmpi without a command.

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "commands.h"
#include "evalmpi/base/log.h"
#include "evalmpi/comm/launch.h"
#include "evalmpi/eval/options.h"
#include "evalmpi/eval/run.h"
#include "evalmpi/task/task_index.h"
#include "harness_spelling.h"
#include "option_parser.h"
#include "watched_session.h"

namespace evalmpi::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEvalHelp =
    R"(usage: evalmpi eval [JOB.yaml] --model DIR --tasks A,B [options]
       srun --mpi=pmix evalmpi eval ... --tp 3 --dp 4
       mpirun -n 3 evalmpi eval ... --tp 3

Scores a model on lm-evaluation-harness tasks: the same prompts, log-probabilities and metrics. One rank drives one
place; --tp places share one copy of the model, and --dp copies share the work. Without a launcher all of it runs in
this process. A score does not depend on any of that, nor on kills and resumes.

Every option can stand in JOB.yaml under its name without the dashes; the command line beats the file.
)";

constexpr const char* kPlanHelp =
    R"(usage: evalmpi plan [JOB.yaml] --model DIR --tasks A,B [options of eval]

Shows what `evalmpi eval` with the same options would do, and runs no model: the mesh, what each place holds, memory,
requests, tokens (naive: every request alone; distinct: every common prefix once; planned: as the chunks are cut) and
chunks.
)";

// So that --models on the command line beats `model` in the job file.
void take_as_one(Values& values) {
  for (const auto& [other, name] : eval::other_spellings()) {
    const auto found = values.find(other);
    if (found == values.end()) continue;
    values[name].insert(values[name].end(), found->second.begin(), found->second.end());
    values.erase(other);
  }
}

// Options of eval and plan, from argv and the job file; nullopt when help was printed.
std::optional<eval::JobOptions> read_options(const std::vector<std::string>& arguments, const char* help,
                                             std::string* job_name) {
  eval::JobOptions options;
  std::vector<Field> fields = eval::fields(options);
  std::vector<Field> accepted = fields;
  for (Field& field : harness_fields()) accepted.push_back(std::move(field));
  CommandLine command_line = parse_command_line(arguments, accepted);
  const bool speaks = comm::speaks_before_init(comm::process_environment());
  if (command_line.wants_help) {
    if (speaks) fmt::print("{}{}", help, describe(accepted));
    return std::nullopt;
  }
  std::vector<std::string> notes;
  say_in_own_words(command_line.values, command_line.positionals, notes);
  if (command_line.positionals.size() > 1) {
    fail(ExitCode::kUsage, "more than one job file: {} and {}", command_line.positionals[0],
         command_line.positionals[1]);
  }
  Values job;
  if (!command_line.positionals.empty()) {
    job = read_job_file(command_line.positionals[0], accepted);
    std::vector<std::string> further_files;
    say_in_own_words(job, further_files, notes);
    if (!further_files.empty()) fail(ExitCode::kUsage, "{}: a job file names no other", command_line.positionals[0]);
    *job_name = fs::path(command_line.positionals[0]).stem().string();
  }
  take_as_one(command_line.values);
  take_as_one(job);
  apply(job, command_line.values, fields);
  if (speaks && !options.each.quiet) {
    for (const std::string& note : notes) log::info("{}", note);
  }
  return options;
}

// What a new output folder is called: the job file's name, else the tasks.
std::string name_of_run(const std::string& job_name, const eval::EvalOptions& options) {
  if (!job_name.empty()) return job_name;
  std::string name;
  for (const std::string& task : options.tasks) name += (name.empty() ? "" : "+") + task;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != '+') c = '_';
  }
  return name.empty() ? "eval" : name.substr(0, 40);
}

// The demo's job file: beside an installed program, else in the source tree.
fs::path demo_job() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path installed = program.parent_path() / "../share/evalmpi/jobs/demo.yaml";
  if (!error && fs::exists(installed)) return installed.lexically_normal();
  const fs::path in_source = fs::path(EVALMPI_SOURCE_DIR) / "jobs" / "demo.yaml";
  if (fs::exists(in_source)) return in_source;
  fail(ExitCode::kMissingInput,
       "the demo's job file is neither at {} nor at {}; say `evalmpi eval --help` for your own",
       installed.lexically_normal().string(), in_source.string());
}

// Options that name tasks or a model are a whole command, as the harness has it; others change the demo.
bool says_what_to_evaluate(const std::vector<std::string>& arguments) {
  constexpr const char* kNames[] = {"--tasks",      "-t",           "--model", "-M",       "--models",
                                    "--model-args", "--model_args", "-a",      "--config", "-C"};
  return std::any_of(arguments.begin(), arguments.end(), [&](const std::string& argument) {
    const std::string name = argument.substr(0, argument.find('='));
    return std::any_of(std::begin(kNames), std::end(kNames), [&](const char* known) { return name == known; });
  });
}

}  // namespace

ExitCode eval_command(const Invocation& invocation) {
  std::string job_name;
  const std::optional<eval::JobOptions> options = read_options(invocation.arguments, kEvalHelp, &job_name);
  if (!options) return ExitCode::kComplete;
  eval::combinations(*options);
  return in_watched_session(options->each, [&](const WatchedSession& watched) {
    return eval::run(watched.session, *options,
                     {name_of_run(job_name, options->each), invocation.process_start, &watched.watchdog,
                      &watched.roll_call, watched.devices});
  });
}

ExitCode plan_command(const Invocation& invocation) {
  std::string job_name;
  const std::optional<eval::JobOptions> options = read_options(invocation.arguments, kPlanHelp, &job_name);
  if (!options) return ExitCode::kComplete;
  if (!comm::speaks_before_init(comm::process_environment())) return ExitCode::kComplete;
  fmt::print("{}", eval::plan(*options));
  return ExitCode::kComplete;
}

ExitCode default_command(const Invocation& invocation) {
  const char* job = std::getenv("EVALMPI_JOB");
  if (job == nullptr && says_what_to_evaluate(invocation.arguments)) return eval_command(invocation);
  Invocation with_job = invocation;
  with_job.arguments.insert(with_job.arguments.begin(), job != nullptr ? std::string(job) : demo_job().string());
  return eval_command(with_job);
}

}  // namespace evalmpi::cli

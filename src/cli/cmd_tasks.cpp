// evalmpi tasks

#include <fmt/format.h>

#include "commands.h"
#include "option_parser.h"
#include "tasks_commands.h"

namespace evalmpi::cli {
namespace {

constexpr const char* kHelp =
    R"(usage: evalmpi tasks list [PATTERN ...] [options]
       evalmpi tasks show NAME [options]
       evalmpi tasks validate NAME|FILE|FOLDER ... [options]
       evalmpi ls [tasks|groups|subtasks|tags] [options]        list, as lm_eval spells it
       evalmpi validate --tasks NAME,.. [options]               validate, as lm_eval spells it

list: the tasks, groups and tags that --tasks can name, with output type and file. A PATTERN is a glob (mmlu_*) or a
part of a name.

show: what a task, group, tag or task file comes to: the configuration with includes, overrides and defaults, in the
words of lm-evaluation-harness, and, where the data is at hand, the requests of the first document with its examples.

validate: whether evalmpi can run tasks, without their data. Of a folder every *.yaml is examined: a task is ready,
needs Python functions that evalmpi does not have itself, or is unsupported for the reason printed.
Exit code 0: all are ready; 1: some are not (not an error).

examples:
  evalmpi tasks list 'arc_*'
  evalmpi tasks show arc_easy --num-fewshot 2 --data-root data
  evalmpi tasks validate my_tasks/quiz.yaml
  evalmpi tasks validate ~/lm-evaluation-harness/lm_eval/tasks --report report.json
)";

std::vector<Field> fields_of(TasksOptions& options) {
  return {
      path_list_field("include-path", "DIR", options.include_paths, "Folder with further task files.",
                      Affects::kNumbers),
      path_list_field("data-root", "DIR", options.data_roots,
                      "show: folder with datasets as DIR/org/name, looked through before the hub cache.",
                      Affects::kNumbers),
      integer_field("num-fewshot", "N", options.num_fewshot, 0,
                    "show: examples before each question. Default: the task's.", Affects::kNumbers),
      integer_field("row", "N", options.row, 0, "show: the document whose requests are shown. Default 0.",
                    Affects::kNumbers),
      text_field("kind", "KIND", options.kind, "list: only tasks, groups or tags. Default any.", Affects::kOutput),
      path_field("report", "FILE", options.report,
                 "validate: write every task's state, with reasons and the functions that are wanted most, as JSON.",
                 Affects::kOutput),
      switch_field("json", options.json, "list, show: print JSON.", Affects::kOutput)};
}

bool is_kind(const std::string& kind) { return kind == "any" || kind == "tasks" || kind == "groups" || kind == "tags"; }

}  // namespace

ExitCode tasks_command(const Invocation& invocation) {
  TasksOptions options;
  std::vector<Field> fields = fields_of(options);
  const CommandLine command_line = parse_command_line(invocation.arguments, fields);
  std::vector<std::string> names = command_line.positionals;
  const std::string action = names.empty() ? "" : names.front();
  if (command_line.wants_help || names.empty()) {
    fmt::print("{}{}", kHelp, describe(fields));
    return command_line.wants_help ? ExitCode::kComplete : ExitCode::kUsage;
  }
  names.erase(names.begin());
  apply({}, command_line.values, fields);
  if (action != "list" && command_line.values.contains("kind")) {
    fail(ExitCode::kUsage, "tasks {}: --kind belongs to tasks list", action);
  }
  if (!is_kind(options.kind)) fail(ExitCode::kUsage, "--kind {}: expected any, tasks, groups or tags", options.kind);
  if (action == "list") return list_tasks(names, options);
  if (action == "show") return show_tasks(names, options);
  if (action == "validate") return validate_tasks(names, options);
  fail(ExitCode::kUsage, "tasks {}: there are list, show and validate; `evalmpi tasks --help` explains them", action);
}

ExitCode ls_command(const Invocation& invocation) {
  Invocation own = invocation;
  std::vector<std::string>& words = own.arguments;
  std::string kind = "any";  // "tasks" are all of them there
  if (!words.empty() && !words.front().starts_with("-")) {
    const std::string what = words.front();
    words.erase(words.begin());
    if (what != "tasks" && what != "groups" && what != "subtasks" && what != "tags") {
      fail(ExitCode::kUsage, "ls {}: expected tasks, groups, subtasks or tags", what);
    }
    if (what != "tasks") kind = what == "subtasks" ? "tasks" : what;
  }
  words.insert(words.begin(), {"list", "--kind", kind});
  return tasks_command(own);
}

ExitCode validate_command(const Invocation& invocation) {
  TasksOptions options;
  std::vector<std::string> names;
  std::vector<Field> fields = fields_of(options);
  fields.push_back(
      list_field("tasks", "NAME,..", names, "validate: the tasks, groups or tags to check.", Affects::kNumbers));
  fields.back().letter = 't';
  const CommandLine command_line = parse_command_line(invocation.arguments, fields);
  if (command_line.wants_help) {
    fmt::print("{}{}", kHelp, describe(fields));
    return ExitCode::kComplete;
  }
  apply({}, command_line.values, fields);
  names.insert(names.end(), command_line.positionals.begin(), command_line.positionals.end());
  return validate_tasks(names, options);
}

}  // namespace evalmpi::cli

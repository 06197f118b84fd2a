// evalmpi tasks list

#include <fmt/format.h>

#include "commands.h"
#include "evalmpi/task/task_index.h"
#include "option_parser.h"

namespace evalmpi::cli {
namespace {

constexpr const char* kHelp =
    R"(usage: evalmpi tasks list [--include-path DIR]

Lists the tasks, groups and tags that --tasks can name, with their files.
)";

const char* kind_name(task::EntryKind kind) {
  switch (kind) {
    case task::EntryKind::kTask: return "task";
    case task::EntryKind::kPythonTask: return "task (Python)";
    case task::EntryKind::kGroup: return "group";
    case task::EntryKind::kTag: return "tag";
  }
  return "";
}

}  // namespace

ExitCode tasks_command(const Invocation& invocation) {
  std::vector<std::string> include_paths;
  std::vector<Field> fields = {path_list_field("include-path", "DIR", include_paths, "Folder with further task files.", Affects::kNumbers)};
  const CommandLine command_line = parse_command_line(invocation.arguments, fields);
  if (command_line.wants_help || command_line.positionals != std::vector<std::string>{"list"}) {
    fmt::print("{}{}", kHelp, describe(fields));
    return command_line.wants_help ? ExitCode::kComplete : ExitCode::kUsage;
  }
  apply({}, command_line.values, fields);
  std::vector<std::filesystem::path> roots{task::builtin_tasks_dir()};
  roots.insert(roots.end(), include_paths.begin(), include_paths.end());
  const task::TaskIndex index = task::TaskIndex::scan(roots);
  for (const auto& [name, entry] : index.entries()) {
    fmt::print("{:<50} {:<14} {}\n", name, kind_name(entry.kind),
               entry.kind == task::EntryKind::kTag ? fmt::format("{} tasks", entry.members.size()) : entry.file.string());
  }
  return ExitCode::kComplete;
}

}  // namespace evalmpi::cli

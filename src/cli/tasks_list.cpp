// evalmpi tasks list, evalmpi tasks validate

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <filesystem>

#include "evalmpi/base/file.h"
#include "evalmpi/base/log.h"
#include "evalmpi/task/survey.h"
#include "evalmpi/task/task_index.h"
#include "tasks_commands.h"

namespace evalmpi::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShownReasons = 30;
constexpr size_t kShownFunctions = 15;

std::vector<fs::path> roots_of(const TasksOptions& options) {
  std::vector<fs::path> roots{task::builtin_tasks_dir()};
  roots.insert(roots.end(), options.include_paths.begin(), options.include_paths.end());
  return roots;
}

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return patterns.empty() || std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
           return name.find(pattern) != name.npos || fnmatch(pattern.c_str(), name.c_str(), FNM_NOESCAPE) == 0;
         });
}

const char* kind_name(task::EntryKind kind) {
  switch (kind) {
    case task::EntryKind::kTask: return "task";
    case task::EntryKind::kPythonTask: return "Python task";
    case task::EntryKind::kGroup: return "group";
    case task::EntryKind::kTag: return "tag";
  }
  return "";
}

// What a line of the list says of an entry beyond its name and kind.
struct Details {
  std::string output_type;
  std::vector<std::string> tags;
};

Details details_of(const task::IndexEntry& entry) {
  Details details;
  if (entry.kind == task::EntryKind::kTag || entry.kind == task::EntryKind::kPythonTask) return details;
  try {
    Json mapping = task::read_task_yaml(entry.file);
    if (entry.list_position >= 0) mapping.update(mapping.at("task_list").at(static_cast<size_t>(entry.list_position)));
    if (entry.kind == task::EntryKind::kTask) {
      details.output_type = mapping.value("output_type", Json("generate_until")).get<std::string>();
    }
    const Json tags = mapping.value("tag", Json::array());
    for (const Json& tag : tags.is_array() ? tags : Json::array({tags})) {
      if (tag.is_string()) details.tags.push_back(tag.get<std::string>());
    }
  } catch (const std::exception& error) {
    details.output_type = "damaged";
    log::debug("{}", error.what());
  }
  return details;
}

std::string what_it_is(const task::IndexEntry& entry, const Details& details) {
  if (entry.kind == task::EntryKind::kTag) return fmt::format("{} tasks", entry.members.size());
  return details.output_type;
}

Json as_json(const task::IndexEntry& entry, const Details& details) {
  Json json = {{"name", entry.name}, {"kind", kind_name(entry.kind)}};
  if (!details.output_type.empty()) json["output_type"] = details.output_type;
  if (!details.tags.empty()) json["tags"] = details.tags;
  if (entry.kind == task::EntryKind::kTag) json["tasks"] = entry.members;
  if (!entry.file.empty()) json["file"] = entry.file.string();
  return json;
}

// Whether --kind asks for an entry of this kind: any, tasks, groups or tags.
bool is_wanted(task::EntryKind kind, const std::string& wanted) {
  if (wanted == "tasks") return kind == task::EntryKind::kTask || kind == task::EntryKind::kPythonTask;
  return wanted == "any" || wanted == kind_name(kind) + std::string("s");
}

// The entry's own line of the survey; of a tag those of its tasks.
std::vector<task::TaskSupport> examine_name(const task::TaskIndex& index, const std::string& name) {
  const auto found = index.entries().find(name);
  if (found == index.entries().end()) {
    const std::vector<std::string> nearest = index.nearest(name);
    fail(ExitCode::kMissingInput, "{}: no such file, folder or task{}", name,
         nearest.empty() ? "" : fmt::format("; did you mean {}?", fmt::join(nearest, ", ")));
  }
  std::vector<task::TaskSupport> tasks;
  if (found->second.kind == task::EntryKind::kTag) {
    for (const std::string& member : found->second.members) {
      for (task::TaskSupport& task : examine_name(index, member)) tasks.push_back(std::move(task));
    }
    return tasks;
  }
  for (task::TaskSupport& task : task::examine_file(index, found->second.file)) {
    if (task.name == name) tasks.push_back(std::move(task));
  }
  return tasks;
}

bool is_below(const fs::path& file, const fs::path& folder) {
  const fs::path relative = file.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

void print_one(const task::TaskSupport& task) {
  std::string what = task::support_name(task.support);
  for (size_t i = 0; i < task.functions.size(); ++i) what += (i == 0 ? ": " : ", ") + task.functions[i];
  if (!task.reason.empty()) what += ": " + task.reason;
  if (task.kind == task::EntryKind::kGroup && task.support != task::Support::kUnsupported) {
    what += fmt::format(" ({} of {} tasks)", task.n_ready, task.n_tasks);
  }
  if (!task.changed.empty()) what += fmt::format("; not the harness's own: {}", fmt::join(task.changed, ", "));
  fmt::print("{:<40} {:<12} {}\n", task.name, kind_name(task.kind), what);
}

void print_summary(const Json& report) {
  fmt::print("{:<8} {:>8} {:>18} {:>14}\n", "", "ready", "needs functions", "unsupported");
  for (const auto& [kind, counts] : report["totals"].items()) {
    fmt::print("{:<8} {:>8} {:>18} {:>14}\n", kind, counts["ready"].get<int64_t>(),
               counts["needs functions"].get<int64_t>(), counts["unsupported"].get<int64_t>());
  }
  const Json& functions = report["missing_functions"];
  if (!functions.empty()) fmt::print("\n{} functions are missing; those that most tasks need:\n", functions.size());
  for (size_t i = 0; i < functions.size() && i < kShownFunctions; ++i) {
    fmt::print("  {:>5} tasks  {}\n", functions[i]["tasks"].get<int64_t>(),
               functions[i]["function"].get<std::string>());
  }
}

void print_changed(const Json& report) {
  const Json& changed = report["changed_functions"];
  if (changed.empty()) return;
  fmt::print("\n{} functions are not those of lm-evaluation-harness 0.4.13, which evalmpi computes in their place:\n",
             changed.size());
  for (size_t i = 0; i < changed.size() && i < kShownFunctions; ++i)
    fmt::print("  {}\n", changed[i].get<std::string>());
  if (changed.size() > kShownFunctions) fmt::print("  and {} more\n", changed.size() - kShownFunctions);
}

void print_reasons(const Json& report) {
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const auto& [reason, names] : report["reasons"].items()) {
    const std::string first = names[0].get<std::string>();
    const std::string who = names.size() == 1 ? first : fmt::format("{} tasks, such as {}", names.size(), first);
    ranked.emplace_back(names.size(), fmt::format("{}: {}", who, reason));
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  if (!ranked.empty()) fmt::print("\nunsupported:\n");
  for (size_t i = 0; i < ranked.size() && i < kShownReasons; ++i) fmt::print("  {}\n", ranked[i].second);
  if (ranked.size() > kShownReasons) fmt::print("  and {} more reasons\n", ranked.size() - kShownReasons);
  const Json& skipped = report["skipped"];
  if (!skipped.empty())
    fmt::print("\n{} files define nothing, such as {}\n", skipped.size(), skipped[0].get<std::string>());
}

}  // namespace

ExitCode list_tasks(const std::vector<std::string>& patterns, const TasksOptions& options) {
  const task::TaskIndex index = task::TaskIndex::scan(roots_of(options));
  Json all = Json::array();
  for (const auto& [name, entry] : index.entries()) {
    if (!is_wanted(entry.kind, options.kind) || !matches(name, patterns)) continue;
    const Details details = details_of(entry);
    if (options.json) {
      all.push_back(as_json(entry, details));
      continue;
    }
    fmt::print("{:<44} {:<12} {:<22} {}{}\n", name, kind_name(entry.kind), what_it_is(entry, details),
               entry.file.string(), details.tags.empty() ? "" : fmt::format("  [{}]", fmt::join(details.tags, ", ")));
  }
  if (options.json) fmt::print("{}\n", all.dump(2));
  for (const std::string& reason : index.skipped()) log::debug("{}", reason);
  return ExitCode::kComplete;
}

ExitCode validate_tasks(const std::vector<std::string>& names, const TasksOptions& options) {
  if (names.empty()) fail(ExitCode::kUsage, "tasks validate: name tasks, task files or a folder of them");
  std::vector<fs::path> roots = roots_of(options);
  for (const std::string& name : names) {
    if (fs::is_directory(name)) roots.push_back(fs::absolute(name).lexically_normal());
  }
  const task::TaskIndex index = task::TaskIndex::scan(roots);
  std::vector<task::TaskSupport> tasks;
  bool has_folder = false;
  for (const std::string& name : names) {
    const fs::path place = fs::absolute(name).lexically_normal();
    const bool is_folder = fs::is_directory(place);
    has_folder = has_folder || is_folder;
    std::vector<task::TaskSupport> found = is_folder           ? task::survey(index)
                                           : fs::exists(place) ? task::examine_file(index, place)
                                                               : examine_name(index, name);
    std::erase_if(found, [&](const task::TaskSupport& task) { return is_folder && !is_below(task.file, place); });
    tasks.insert(tasks.end(), found.begin(), found.end());
  }
  const Json report = task::survey_report(index, tasks);
  if (!options.report.empty()) write_file_atomically(options.report, report.dump(1) + "\n");
  if (has_folder) {
    print_summary(report);
    print_changed(report);
    print_reasons(report);
  } else {
    for (const task::TaskSupport& task : tasks) print_one(task);
  }
  const bool all_ready =
      std::all_of(tasks.begin(), tasks.end(), [](const auto& task) { return task.support == task::Support::kReady; });
  return all_ready ? ExitCode::kComplete : ExitCode{1};
}

}  // namespace evalmpi::cli

#pragma once

// Which tasks, groups and tags there are, and what a list of names on the command line means.

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/task/task_config.h"

namespace evalmpi::task {

enum class EntryKind { kTask, kPythonTask, kGroup, kTag };

struct IndexEntry {
  std::string name;
  EntryKind kind = EntryKind::kTask;
  std::filesystem::path file;     // empty for a tag
  int list_position = -1;         // >= 0: this item of the file's task_list
  std::set<std::string> members;  // of a tag: its tasks
};

// The tasks and groups that a list of names stands for.
struct Selection {
  std::vector<TaskConfig> tasks;    // leaf tasks, each once, in the order of the request
  std::vector<GroupConfig> groups;  // parents before their subgroups
  // For people: what the files ask for and no score depends on, and what the harness itself leaves open in scores.
  std::vector<std::string> notes;
  // Python functions of the tasks that are not those of lm-evaluation-harness 0.4.13 which evalmpi computes in their
  // place, each once: file, name and what that means, for people.
  std::vector<std::string> changed_functions;

  const TaskConfig& task(std::string_view name) const;
};

class TaskIndex {
 public:
  // Looks at every **/*.yaml below the roots; of two entries with one name the first in a root (in path order) holds,
  // and a later root's replaces an earlier root's. Only the few keys that name a task are looked at here (14,000 files
  // take about a second), so that a file that is damaged elsewhere is found when its task is asked for.
  // A file with the key `task_list` (a list of mappings, evalmpi's own addition) defines one task for each item, the
  // file's other keys being common to all.
  // FAILS: kMissingInput when a root is not a directory.
  static TaskIndex scan(const std::vector<std::filesystem::path>& roots);

  // Every known name, sorted, with what it is.
  const std::map<std::string, IndexEntry>& entries() const { return entries_; }

  // Files that define nothing, each with the reason.
  const std::vector<std::string>& skipped() const { return skipped_; }

  // Each item of `names` is a comma list of task, group or tag names, globs over these, paths to .yaml files (globs
  // too), or one directory (all *.yaml in it). A tag stands for its tasks in name order.
  // FAILS: kBadInput for an unknown name (with the nearest ones), a task that two of the items contain, a damaged file
  // (with its line) and as make_task_config.
  Selection select(const std::vector<std::string>& names, const TaskOverrides& overrides = {}) const;

  // Up to `count` known names, nearest in edit distance first; none farther than half the name's length.
  std::vector<std::string> nearest(std::string_view name, size_t count = 3) const;

 private:
  std::map<std::string, IndexEntry> entries_;
  std::vector<std::string> skipped_;
};

// The folder of the tasks that evalmpi brings: EVALMPI_TASKS_DIR in the environment, else share/evalmpi/tasks beside
// the program's folder, else the source tree's configs/tasks. FAILS: kMissingInput.
std::filesystem::path builtin_tasks_dir();

// One YAML file as Json, read as PyYAML's safe loader reads YAML 1.1 (yes/no are booleans, << merges), `!function` as
// task_config.h says, without following `include`.
// FAILS: kBadInput with file and line; files above 16 MiB, nesting deeper than 100, more than a million values.
Json read_yaml_file(const std::filesystem::path& file);

// The same for a text; `file` names it.
Json read_yaml_text(const std::string& text, const std::filesystem::path& file);

// read_yaml_file, and the files that `include` names merged below it: later includes over earlier ones, the file's own
// keys over all. FAILS: also kBadInput on a cycle.
Json read_task_yaml(const std::filesystem::path& file);

}  // namespace evalmpi::task

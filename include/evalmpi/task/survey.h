#pragma once

// What evalmpi can do with task files and with every task below some folders, without their data.

#include <filesystem>
#include <string>
#include <vector>

#include "evalmpi/task/task_index.h"

namespace evalmpi::task {

enum class Support {
  kReady,           // runs once its data is there
  kNeedsFunctions,  // calls Python functions that evalmpi does not have itself
  kUnsupported,     // for the reason given
};
const char* support_name(Support support);  // "ready", "needs functions", "unsupported"

struct TaskSupport {
  std::string name;
  EntryKind kind = EntryKind::kTask;
  std::filesystem::path file;
  Support support = Support::kReady;
  std::string output_type;             // of a task, where it can be read
  std::vector<std::string> functions;  // kNeedsFunctions: "folder/module.name"; of a group: its own
  std::vector<std::string> changed;    // functions that are not lm-evaluation-harness's: "FILE: name"
  std::string reason;                  // kUnsupported; without file and name where the message begins with them
  int64_t n_tasks = 1;                 // of a group: its leaf tasks
  int64_t n_ready = 0;                 // of a group: those that are ready
};

// Every task and group of the index in name order, and the tasks that groups define inside themselves ("group::task").
// A group is unsupported when it does not resolve; else its tasks are counted. Never fails for a damaged task.
std::vector<TaskSupport> survey(const TaskIndex& index);

// The tasks and groups of one task file, whose names of others are looked up in the index. Never fails.
std::vector<TaskSupport> examine_file(const TaskIndex& index, const std::filesystem::path& file);

// The survey as JSON: {"totals": {..}, "reasons": {reason: [names]}, "missing_functions": [{"function": .., "tasks":
// n}, ..] most wanted first, "changed_functions": ["FILE: name", ..], "skipped": [files that define nothing], "tasks":
// [..], "groups": [..]}.
Json survey_report(const TaskIndex& index, const std::vector<TaskSupport>& tasks);

}  // namespace evalmpi::task

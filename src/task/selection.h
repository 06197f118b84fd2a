#pragma once

// What a list of names stands for, before the tasks' mappings are read as configurations.

#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "evalmpi/task/task_index.h"

namespace evalmpi::task {

// Task files with their includes merged (read_task_yaml); each file is parsed once.
class YamlFiles {
 public:
  Json read(const std::filesystem::path& file);

  // A mapping written inside `file`, with its includes merged below it.
  Json with_includes(Json own, const std::filesystem::path& file);

 private:
  using Chain = std::vector<std::filesystem::path>;
  Json merge(const std::filesystem::path& file, Chain& chain);
  Json merge_includes(Json own, const std::filesystem::path& path, Chain& chain);

  std::unordered_map<std::string, Json> parsed_;  // without includes
};

struct UnconfiguredTask {
  std::string name;
  Json mapping;  // includes merged, overrides of groups applied
  std::filesystem::path file;
};

struct UnconfiguredSelection {
  std::vector<UnconfiguredTask> tasks;
  std::vector<GroupConfig> groups;  // parents before their subgroups
};

// FAILS: as TaskIndex::select, but for what is wrong inside tasks.
UnconfiguredSelection choose(const TaskIndex& index, const std::vector<std::string>& names, YamlFiles& files);

// The same for one task file, whatever its name ends in.
UnconfiguredSelection choose_file(const TaskIndex& index, const std::filesystem::path& file, YamlFiles& files);

}  // namespace evalmpi::task

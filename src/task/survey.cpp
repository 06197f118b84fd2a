#include "evalmpi/task/survey.h"

#include <algorithm>
#include <map>
#include <set>

#include "evalmpi/base/error.h"
#include "fields.h"
#include "harness_sources.h"
#include "native_functions.h"
#include "selection.h"

namespace evalmpi::task {
namespace {

// The templates of a task, all of which have to parse. A name of a column parses as plain text.
void compile_fields(const TaskConfig& config) {
  const std::pair<const char*, const Json&> fields[] = {
      {"doc_to_text", config.doc_to_text},
      {"doc_to_target", config.doc_to_target},
      {"doc_to_choice", config.doc_to_choice},
      {"gen_prefix", config.gen_prefix},
      {"fewshot_config: doc_to_text", config.fewshot.doc_to_text},
      {"fewshot_config: doc_to_target", config.fewshot.doc_to_target},
      {"fewshot_config: doc_to_choice", config.fewshot.doc_to_choice},
      {"fewshot_config: gen_prefix", config.fewshot.gen_prefix},
  };
  const std::string where = config.file.string() + ": task " + config.name + ": ";
  for (const auto& [key, spec] : fields) Field::compile(spec, {}, where + key);
  Field::compile(config.description, {}, where + "description");
}

std::vector<std::string> missing_names(const Json& mapping) {
  std::vector<std::string> names;
  for (const MissingFunction& function : missing_functions(mapping)) names.push_back(function.identity);
  return names;
}

EntryKind kind_of(const Json& mapping) { return mapping.contains("class") ? EntryKind::kPythonTask : EntryKind::kTask; }

TaskSupport unsupported(const std::string& name, EntryKind kind, const std::filesystem::path& file,
                        const std::string& reason) {
  TaskSupport result;
  result.name = name;
  result.kind = kind;
  result.file = file;
  result.support = Support::kUnsupported;
  const std::string place = fmt::format(": {} {}: ", kind == EntryKind::kGroup ? "group" : "task", name);
  const size_t found = reason.find(place);
  result.reason = found == reason.npos ? reason : reason.substr(found + place.size());
  return result;
}

std::vector<std::string> changed_in(const Json& mapping, HarnessSources& sources) {
  std::vector<std::string> changed;
  for (const ChangedFunction& function : sources.changed_in(mapping))
    changed.push_back(function.file.string() + ": " + function.name);
  return changed;
}

// One merged mapping of a task: its functions looked up, its configuration read, all its templates and patterns
// compiled. Never fails.
TaskSupport examine_task(const Json& given, const std::filesystem::path& file, HarnessSources& sources) {
  const Json mapping = with_class_written_out(given);
  const Json name = mapping.value("task", Json());
  TaskSupport result;
  result.name = name.is_string() ? name.get<std::string>() : "?";
  result.kind = kind_of(mapping);
  result.file = file;
  const Json type = mapping.value("output_type", Json("generate_until"));
  if (type.is_string()) result.output_type = type.get<std::string>();
  if (result.kind == EntryKind::kTask) result.functions = missing_names(mapping);
  if (!result.functions.empty()) {
    result.support = Support::kNeedsFunctions;
    return result;
  }
  try {
    compile_fields(make_task_config(mapping, file, {}));
    result.changed = changed_in(given, sources);
  } catch (const Error& error) {
    const std::string type_read = result.output_type;
    result = unsupported(result.name, result.kind, file, error.what());
    result.output_type = type_read;
  }
  return result;
}

// Examines tasks and groups, each task as its own file has it once only.
class Surveyor {
 public:
  explicit Surveyor(const TaskIndex& index) : index_(index) {}

  std::vector<TaskSupport> run() {
    for (const auto& [name, entry] : index_.entries()) {
      if (entry.kind == EntryKind::kTask || entry.kind == EntryKind::kPythonTask) add_task(entry);
    }
    for (const auto& [name, entry] : index_.entries()) {
      if (entry.kind == EntryKind::kGroup) add_group(entry);
    }
    std::vector<TaskSupport> all;
    for (auto& [name, support] : found_) all.push_back(std::move(support));
    return all;
  }

 private:
  void add_task(const IndexEntry& entry) {
    try {
      const UnconfiguredSelection chosen = choose(index_, {entry.name}, files_);
      for (const UnconfiguredTask& task : chosen.tasks) examine(task);
    } catch (const Error& error) {
      found_[entry.name] = unsupported(entry.name, entry.kind, entry.file, error.what());
    }
  }

  void add_group(const IndexEntry& entry) {
    TaskSupport group;
    group.name = entry.name;
    group.kind = EntryKind::kGroup;
    group.file = entry.file;
    try {
      const UnconfiguredSelection chosen = choose(index_, {entry.name}, files_);
      group.n_tasks = static_cast<int64_t>(chosen.tasks.size());
      for (const UnconfiguredTask& task : chosen.tasks) group.n_ready += examine(task) == Support::kReady ? 1 : 0;
      if (group.n_ready < group.n_tasks) group.support = Support::kNeedsFunctions;
    } catch (const Error& error) {
      group = unsupported(entry.name, EntryKind::kGroup, entry.file, error.what());
      group.functions = own_functions(entry.file);
      if (!group.functions.empty()) group.support = Support::kNeedsFunctions;
    }
    found_[entry.name] = std::move(group);
  }

  // The functions that a group file itself names; none where the file is damaged.
  std::vector<std::string> own_functions(const std::filesystem::path& file) {
    try {
      return missing_names(files_.read(file));
    } catch (const Error&) {
      return {};
    }
  }

  Support examine(const UnconfiguredTask& task) {
    const auto known = examined_.find(task.name);
    if (known != examined_.end() && known->second.mapping == task.mapping) return known->second.support;
    TaskSupport result = examine_task(task.mapping, task.file, sources_);
    const Support support = result.support;
    if (known == examined_.end()) {
      found_[task.name] = std::move(result);
      examined_[task.name] = {task.mapping, support};
    }
    return support;
  }

  struct Examined {
    Json mapping;
    Support support;
  };

  const TaskIndex& index_;
  YamlFiles files_;
  HarnessSources sources_;
  std::map<std::string, TaskSupport> found_;
  std::map<std::string, Examined> examined_;
};

Json describe(const TaskSupport& task) {
  Json entry = {{"name", task.name}, {"support", support_name(task.support)}, {"file", task.file.string()}};
  if (!task.output_type.empty()) entry["output_type"] = task.output_type;
  if (!task.functions.empty()) entry["functions"] = task.functions;
  if (!task.changed.empty()) entry["changed_functions"] = task.changed;
  if (!task.reason.empty()) entry["reason"] = task.reason;
  if (task.kind == EntryKind::kGroup && task.support != Support::kUnsupported) {
    entry["tasks"] = task.n_tasks;
    entry["ready"] = task.n_ready;
  }
  return entry;
}

Json wanted_functions(const std::vector<TaskSupport>& tasks) {
  std::map<std::string, int64_t> counts;
  for (const TaskSupport& task : tasks) {
    for (const std::string& function : task.functions) ++counts[function];
  }
  std::vector<std::pair<int64_t, std::string>> ranked;
  for (const auto& [function, count] : counts) ranked.emplace_back(-count, function);
  std::sort(ranked.begin(), ranked.end());
  Json list = Json::array();
  for (const auto& [count, function] : ranked) list.push_back({{"function", function}, {"tasks", -count}});
  return list;
}

}  // namespace

const char* support_name(Support support) {
  switch (support) {
    case Support::kReady: return "ready";
    case Support::kNeedsFunctions: return "needs functions";
    case Support::kUnsupported: return "unsupported";
  }
  return "";
}

std::vector<TaskSupport> examine_file(const TaskIndex& index, const std::filesystem::path& file) {
  std::vector<TaskSupport> found;
  try {
    YamlFiles files;
    HarnessSources sources;
    const UnconfiguredSelection chosen = choose_file(index, file, files);
    for (const UnconfiguredTask& task : chosen.tasks) found.push_back(examine_task(task.mapping, task.file, sources));
    if (!chosen.groups.empty()) {
      TaskSupport group;
      group.name = chosen.groups.front().name;
      group.kind = EntryKind::kGroup;
      group.file = file;
      group.n_tasks = static_cast<int64_t>(found.size());
      group.n_ready = std::count_if(found.begin(), found.end(),
                                    [](const TaskSupport& task) { return task.support == Support::kReady; });
      if (group.n_ready < group.n_tasks) group.support = Support::kNeedsFunctions;
      found.insert(found.begin(), std::move(group));
    }
  } catch (const Error& error) {
    found = {unsupported(file.filename().string(), EntryKind::kTask, file, error.what())};
  }
  return found;
}

std::vector<TaskSupport> survey(const TaskIndex& index) { return Surveyor(index).run(); }

Json survey_report(const TaskIndex& index, const std::vector<TaskSupport>& tasks) {
  Json totals = Json::object();
  Json lists = {{"tasks", Json::array()}, {"groups", Json::array()}};
  for (const char* kind : {"tasks", "groups"}) {
    for (const Support support : {Support::kReady, Support::kNeedsFunctions, Support::kUnsupported}) {
      totals[kind][support_name(support)] = 0;
    }
  }
  for (const TaskSupport& task : tasks) {
    const char* kind = task.kind == EntryKind::kGroup ? "groups" : "tasks";
    Json& count = totals[kind][support_name(task.support)];
    count = count.get<int64_t>() + 1;
    lists[kind].push_back(describe(task));
  }
  std::map<std::string, std::vector<std::string>> reasons;
  std::set<std::string> changed;
  for (const TaskSupport& task : tasks) {
    changed.insert(task.changed.begin(), task.changed.end());
    if (task.support == Support::kUnsupported) reasons[task.reason].push_back(task.name);
  }
  return {{"totals", totals},
          {"reasons", reasons},
          {"missing_functions", wanted_functions(tasks)},
          {"changed_functions", changed},
          {"skipped", index.skipped()},
          {"tasks", lists["tasks"]},
          {"groups", lists["groups"]}};
}

}  // namespace evalmpi::task

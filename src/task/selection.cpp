// What a list of names on the command line stands for: names, globs, tags, groups, files and folders.

#include "selection.h"

#include <fnmatch.h>
#include <glob.h>

#include <algorithm>

#include "evalmpi/base/error.h"
#include "evalmpi/task/task_index.h"
#include "evalmpi/text/python.h"
#include "harness_sources.h"
#include "native_functions.h"

namespace evalmpi::task {
namespace {

namespace fs = std::filesystem;
namespace py = text::python;

constexpr int kMaxGroupDepth = 32;
constexpr size_t kMaxTasks = 100'000;

bool is_group_key(const std::string& key) {
  return key == "group" || key == "group_alias" || key == "task" || key == "aggregate_metric_list" || key == "metadata";
}

std::vector<std::string> files_matching(const std::string& pattern) {
  glob_t found = {};
  std::vector<std::string> files;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return files;
}

GroupMetric read_group_metric(const Json& entry, const std::string& where) {
  const auto metric = entry.is_object() ? entry.find("metric") : entry.end();
  if (!entry.is_object() || metric == entry.end() || !metric->is_string()) {
    fail(ExitCode::kBadInput, "{}: aggregate_metric_list must hold mappings that name a metric", where);
  }
  GroupMetric result;
  result.metric = metric->get<std::string>();
  for (const auto& [key, value] : entry.items()) {
    if (key == "metric") continue;
    if (key == "aggregation" && value == "mean") continue;
    if (key == "weight_by_size") {
      result.weight_by_size = py::truth(value);
    } else if (key == "filter_list" && value.is_string()) {
      result.filters = {value.get<std::string>()};
    } else if (key == "filter_list" && value.is_array()) {
      result.filters.emplace();
      for (const Json& filter : value) result.filters->push_back(py::str(filter));
    } else if (!(key == "filter_list" && value.is_null())) {
      fail(ExitCode::kBadInput, "{}: aggregate_metric_list: {} cannot be {}", where, key, py::repr(value));
    }
  }
  return result;
}

// Builds one selection; every item of the request is a source that no other may share a task with.
class Selector {
 public:
  Selector(const TaskIndex& index, YamlFiles& files) : index_(index), files_(files) {}

  void add_request(const std::string& request) {
    std::error_code error;
    if (request.ends_with(".yaml")) {
      const std::vector<std::string> files = files_matching(request);
      if (files.empty()) fail(ExitCode::kMissingInput, "{}: no such task file", request);
      for (const std::string& file : files) add_file(file);
      return;
    }
    const std::vector<std::string> names = matching_names(request);
    for (const std::string& name : names) add_top(index_.entries().at(name));
    if (!names.empty()) return;
    if (fs::is_directory(request, error)) {
      const std::vector<std::string> files = files_matching(request + "/*.yaml");
      if (files.empty()) fail(ExitCode::kBadInput, "{}: the folder holds no .yaml file", request);
      for (const std::string& file : files) add_file(file);
      return;
    }
    fail_unknown(request);
  }

  void add_file(const std::string& name) {
    const fs::path file = fs::absolute(name).lexically_normal();
    const Json mapping = files_.read(file);
    if (mapping.contains("task_list")) {
      for (const Json& item : mapping["task_list"]) {
        Json merged = mapping;
        merged.erase("task_list");
        if (!item.is_object()) fail(ExitCode::kBadInput, "{}: task_list must hold mappings", name);
        merged.update(item);
        add_task(std::move(merged), file, "");
      }
    } else if (mapping.contains("group")) {
      add_group(group_name(mapping, file), mapping, Json::object(), file, "", 0);
    } else {
      add_task(mapping, file, "");
    }
  }

  UnconfiguredSelection finish() { return std::move(chosen_); }

 private:
  [[noreturn]] void fail_unknown(const std::string& name) const {
    const std::vector<std::string> nearest = index_.nearest(name);
    std::string remedy = nearest.empty() ? "`evalmpi tasks list` shows all" : "nearest: " + py::join(nearest, ", ");
    if (!index_.skipped().empty()) {
      remedy += fmt::format(" ({} files define nothing; first: {})", index_.skipped().size(), index_.skipped().front());
    }
    fail(ExitCode::kBadInput, "unknown task {}; {}", name, remedy);
  }

  std::vector<std::string> matching_names(const std::string& pattern) const {
    if (index_.entries().contains(pattern)) return {pattern};
    std::vector<std::string> names;
    if (pattern.find_first_of("*?[") == pattern.npos) return names;
    for (const auto& [name, entry] : index_.entries()) {
      if (fnmatch(pattern.c_str(), name.c_str(), FNM_NOESCAPE) == 0) names.push_back(name);
    }
    return names;
  }

  static std::string group_name(const Json& mapping, const fs::path& file) {
    if (!mapping["group"].is_string()) fail(ExitCode::kBadInput, "{}: group must be a name", file.string());
    return mapping["group"].get<std::string>();
  }

  void add_top(const IndexEntry& entry) {
    if (!requested_.insert(entry.name).second) return;
    add_entry(entry, Json::object(), "", 0);
  }

  // Adds what an entry stands for and returns its names: the group's, or the tasks'.
  std::vector<std::string> add_entry(const IndexEntry& entry, const Json& overrides, const std::string& source,
                                     int depth) {
    if (entry.kind == EntryKind::kTag) {
      std::vector<std::string> names;
      for (const std::string& member : entry.members) {
        add_entry(index_.entries().at(member), overrides, source, depth);
        names.push_back(member);
      }
      return names;
    }
    Json mapping = read_entry(entry);
    if (entry.kind == EntryKind::kGroup) {
      add_group(entry.name, mapping, overrides, entry.file, source, depth);
    } else {
      mapping.update(overrides);
      mapping["task"] = entry.name;
      add_task(std::move(mapping), entry.file, source);
    }
    return {entry.name};
  }

  Json read_entry(const IndexEntry& entry) {
    Json mapping = files_.read(entry.file);
    if (entry.list_position < 0) return mapping;
    const Json item = mapping.at("task_list").at(static_cast<size_t>(entry.list_position));
    mapping.erase("task_list");
    mapping.update(item);
    return mapping;
  }

  void add_task(Json mapping, const fs::path& file, const std::string& source) {
    const Json named = mapping.value("task", Json());
    if (!named.is_string()) fail(ExitCode::kBadInput, "{}: task must be the task's name", file.string());
    const std::string name = named.get<std::string>();
    const std::string& owner = source.empty() ? name : source;
    const auto [known, is_new] = places_.emplace(name, Place{owner, chosen_.tasks.size()});
    if (!is_new && known->second.owner != owner) {
      fail(ExitCode::kBadInput, "the task {} is asked for twice: by {} and by {}", name, known->second.owner, owner);
    }
    if (places_.size() > kMaxTasks) fail(ExitCode::kBadInput, "more than {} tasks are asked for", kMaxTasks);
    if (is_new) chosen_.tasks.emplace_back();
    chosen_.tasks[known->second.position] = {name, std::move(mapping), file};
  }

  // A group and its members. What a group file says beyond the keys of a group is said to all its tasks; what the
  // request says goes over that.
  void add_group(const std::string& name, const Json& mapping, const Json& given, const fs::path& file,
                 const std::string& source, int depth) {
    if (depth > kMaxGroupDepth) {
      fail(ExitCode::kBadInput, "{}: group {}: groups are nested deeper than {}", file.string(), name, kMaxGroupDepth);
    }
    Json overrides = Json::object();
    for (const auto& [key, value] : mapping.items()) {
      if (!is_group_key(key) && key != "tag" && key != "include") overrides[key] = value;
    }
    overrides.update(given);
    const size_t position = chosen_.groups.size();
    chosen_.groups.push_back(read_group(name, mapping, file));
    const Json members = mapping.value("task", Json::array());
    for (const Json& member : members.is_array() ? members : Json::array({members})) {
      for (const std::string& child :
           add_member(name, member, overrides, file, source.empty() ? name : source, depth)) {
        GroupConfig& group = chosen_.groups[position];
        group.children.push_back(child);
        append_tasks(group, child);
      }
    }
    drop_earlier(name, position);
  }

  // A group that two parents share is listed once.
  void drop_earlier(const std::string& name, size_t position) {
    auto& groups = chosen_.groups;
    for (size_t i = 0; i < position; ++i) {
      if (groups[i].name != name) continue;
      groups.erase(groups.begin() + static_cast<ptrdiff_t>(position));
      return;
    }
  }

  void append_tasks(GroupConfig& group, const std::string& child) const {
    const auto subgroup = std::find_if(chosen_.groups.begin(), chosen_.groups.end(),
                                       [&](const GroupConfig& known) { return known.name == child; });
    const std::vector<std::string> leaves =
        subgroup == chosen_.groups.end() ? std::vector<std::string>{child} : subgroup->tasks;
    for (const std::string& leaf : leaves) {
      if (std::find(group.tasks.begin(), group.tasks.end(), leaf) == group.tasks.end()) group.tasks.push_back(leaf);
    }
  }

  static GroupConfig read_group(const std::string& name, const Json& mapping, const fs::path& file) {
    const std::string where = fmt::format("{}: group {}", file.string(), name);
    GroupConfig group;
    group.name = name;
    const Json alias = mapping.value("group_alias", Json());
    group.alias = alias.is_null() ? name : py::str(alias);
    const Json metadata = mapping.value("metadata", Json());
    if (metadata.is_object() && metadata.contains("version")) group.version = py::str(metadata["version"]);
    const Json list = mapping.value("aggregate_metric_list", Json());
    if (list.is_null()) return group;
    for (const Json& entry : list.is_array() ? list : Json::array({list})) {
      group.metrics.push_back(read_group_metric(entry, where));
    }
    return group;
  }

  std::vector<std::string> add_member(const std::string& group, const Json& member, const Json& overrides,
                                      const fs::path& file, const std::string& source, int depth) {
    Json own = overrides;
    std::string name;
    if (member.is_string()) {
      name = member.get<std::string>();
    } else if (member.is_object() && member.contains("group") && member["group"].is_string()) {
      name = member["group"].get<std::string>();
      const auto known = index_.entries().find(name);
      if (known == index_.entries().end()) {
        name = group + "::" + name;
        add_group(name, member, overrides, file, source, depth + 1);
        return {name};
      }
      for (const auto& [key, value] : member.items()) {
        if (key != "group") own[key] = value;
      }
    } else if (member.is_object() && member.contains("task") && member["task"].is_string()) {
      name = member["task"].get<std::string>();
      own.update(member);
      own.erase("task");
    } else {
      fail(ExitCode::kBadInput, "{}: group {}: a member must be a name or a mapping with task or group, not {}",
           file.string(), group, py::repr(member));
    }
    const auto known = index_.entries().find(name);
    if (known != index_.entries().end()) return add_entry(known->second, own, source, depth + 1);
    own = files_.with_includes(std::move(own), file);
    // A mapping that brings its own dataset is a task of its own; a bare unknown name is a mistake.
    if (!own.contains("dataset_path")) fail_unknown(name);
    own["task"] = group + "::" + name;
    add_task(std::move(own), file, source);
    return {group + "::" + name};
  }

  struct Place {
    std::string owner;  // the item of the request that brought the task
    size_t position;    // in chosen_.tasks
  };

  const TaskIndex& index_;
  YamlFiles& files_;
  UnconfiguredSelection chosen_;
  std::set<std::string> requested_;
  std::map<std::string, Place> places_;
};

// What is noted of tasks, each once, with the first of them and how many they are.
std::vector<std::string> notes_on(const std::vector<UnconfiguredTask>& tasks) {
  struct Noted {
    std::string what;
    std::string why;
    std::string first;
    int count = 0;
  };
  std::vector<Noted> noted;
  const auto note = [&](const UnconfiguredTask& task, const std::string& what, const std::string& why) {
    auto found =
        std::find_if(noted.begin(), noted.end(), [&](const Noted& one) { return one.what == what && one.why == why; });
    if (found == noted.end()) found = noted.insert(found, {what, why, task.name});
    ++found->count;
  };
  for (const UnconfiguredTask& task : tasks) {
    if (py::truth(task.mapping.value("should_decontaminate", Json(false)))) {
      note(task, "should_decontaminate is ignored", "documents are not searched for in training data");
    }
    for (const NamedFunction& function : functions_of(task.mapping)) {
      const char* why = note_on(function);
      if (why != nullptr) note(task, std::string(function.key), why);
    }
  }
  std::vector<std::string> notes;
  for (const Noted& one : noted) {
    notes.push_back(fmt::format("{} ({}{}): {}", one.what, one.first,
                                one.count > 1 ? fmt::format(" and {} more tasks", one.count - 1) : "", one.why));
  }
  return notes;
}

std::vector<std::string> changed_functions(const std::vector<UnconfiguredTask>& tasks) {
  std::vector<std::string> changed;
  HarnessSources sources;
  for (const UnconfiguredTask& task : tasks) {
    for (const ChangedFunction& function : sources.changed_in(task.mapping)) {
      std::string words = describe(function);
      if (std::find(changed.begin(), changed.end(), words) == changed.end()) changed.push_back(std::move(words));
    }
  }
  return changed;
}

}  // namespace

const TaskConfig& Selection::task(std::string_view name) const {
  const auto found =
      std::find_if(tasks.begin(), tasks.end(), [&](const TaskConfig& task) { return task.name == name; });
  EVALMPI_CHECK(found != tasks.end());
  return *found;
}

UnconfiguredSelection choose(const TaskIndex& index, const std::vector<std::string>& names, YamlFiles& files) {
  Selector selector(index, files);
  size_t n_requests = 0;
  for (const std::string& list : names) {
    for (const std::string& piece : py::split(list, ",")) {
      const std::string request = py::strip(piece);
      if (request.empty()) continue;
      selector.add_request(request);
      ++n_requests;
    }
  }
  if (n_requests == 0) fail(ExitCode::kUsage, "no task is named; `evalmpi tasks list` shows all");
  return selector.finish();
}

UnconfiguredSelection choose_file(const TaskIndex& index, const fs::path& file, YamlFiles& files) {
  Selector selector(index, files);
  selector.add_file(file.string());
  return selector.finish();
}

Selection TaskIndex::select(const std::vector<std::string>& names, const TaskOverrides& overrides) const {
  YamlFiles files;
  UnconfiguredSelection chosen = choose(*this, names, files);
  Selection selection;
  selection.changed_functions = changed_functions(chosen.tasks);
  for (const UnconfiguredTask& task : chosen.tasks) {
    selection.tasks.push_back(make_task_config(task.mapping, task.file, overrides));
  }
  selection.groups = std::move(chosen.groups);
  selection.notes = notes_on(chosen.tasks);
  return selection;
}

}  // namespace evalmpi::task

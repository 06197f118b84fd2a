// evalmpi tasks show

#include <fmt/format.h>

#include "evalmpi/base/error.h"
#include "evalmpi/base/log.h"
#include "evalmpi/task/task.h"
#include "evalmpi/task/task_index.h"
#include "evalmpi/text/python.h"
#include "tasks_commands.h"

namespace evalmpi::cli {
namespace {

namespace py = text::python;

constexpr size_t kShownTasks = 20;

Json describe_group(const task::GroupConfig& group) {
  Json metrics = Json::array();
  for (const task::GroupMetric& metric : group.metrics) {
    Json entry = {{"metric", metric.metric}, {"weight_by_size", metric.weight_by_size}};
    if (metric.filters) entry["filter_list"] = *metric.filters;
    metrics.push_back(entry);
  }
  return {{"group", group.name},       {"group_alias", group.alias},  {"version", group.version},
          {"members", group.children}, {"tasks", group.tasks.size()}, {"aggregate_metric_list", metrics}};
}

const char* kind_name(task::RequestKind kind) {
  switch (kind) {
    case task::RequestKind::kLoglikelihood: return "loglikelihood";
    case task::RequestKind::kLoglikelihoodRolling: return "loglikelihood_rolling";
    case task::RequestKind::kGenerateUntil: return "generate_until";
  }
  return "";
}

// The requests of one document, each context once.
Json describe_document(const task::TaskConfig& config, const TasksOptions& options) {
  task::TaskOptions task_options;
  task_options.rows = {options.row};
  data::DataRoots roots;
  for (const std::string& root : options.data_roots) roots.roots.emplace_back(root);
  const task::Task task = task::Task::load(config, roots, task_options);
  Json requests = Json::array();
  for (const task::Instance& instance : task.build_all()) {
    Json request = {{"type", kind_name(instance.kind)}};
    if (instance.kind != task::RequestKind::kLoglikelihoodRolling) request["context"] = *instance.context;
    if (instance.kind != task::RequestKind::kGenerateUntil) request["continuation"] = instance.continuation;
    requests.push_back(std::move(request));
  }
  return {{"row", options.row},
          {"rows", task.n_rows()},
          {"examples", task.num_fewshot()},
          {"document", task.document(options.row)},
          {"requests", requests},
          {"target", task.target(options.row)}};
}

void print_document(const Json& described) {
  fmt::print("document {} of {}, with {} examples:\n{}\n", described["row"].get<int64_t>(),
             described["rows"].get<int64_t>(), described["examples"].get<int64_t>(), described["document"].dump(2));
  std::string previous;
  for (const Json& request : described["requests"]) {
    const std::string context = request.value("context", "");
    if (context != previous) fmt::print("--- context ({} characters)\n{}\n", py::length(context), context);
    previous = context;
    fmt::print("--- {}{}\n", request["type"].get<std::string>(),
               request.contains("continuation") ? " of " + py::repr(request["continuation"]) : "");
  }
  fmt::print("--- target: {}\n", py::repr(described["target"]));
}

}  // namespace

ExitCode show_tasks(const std::vector<std::string>& names, const TasksOptions& options) {
  if (names.empty()) fail(ExitCode::kUsage, "tasks show: name a task, group, tag or task file");
  std::vector<std::filesystem::path> roots{task::builtin_tasks_dir()};
  roots.insert(roots.end(), options.include_paths.begin(), options.include_paths.end());
  const task::Selection selection = task::TaskIndex::scan(roots).select(names, {options.num_fewshot, Json::object()});
  for (const std::string& note : selection.notes) log::info("{}", note);
  for (const std::string& changed : selection.changed_functions) log::warning("{}", changed);
  Json all = Json::array();
  for (const task::GroupConfig& group : selection.groups) all.push_back(describe_group(group));
  // Of many tasks the configurations would bury what the groups say.
  const bool only_names = selection.tasks.size() > kShownTasks;
  for (const task::TaskConfig& config : selection.tasks) {
    Json entry = {{"task", config.name}, {"file", config.file.string()}};
    if (!only_names) entry["config"] = config.dump;
    if (selection.tasks.size() == 1) {
      try {
        entry["first_document"] = describe_document(config, options);
      } catch (const Error& error) {
        entry["no_document"] = error.what();
      }
    }
    all.push_back(std::move(entry));
  }
  if (options.json) {
    fmt::print("{}\n", all.dump(2));
    return ExitCode::kComplete;
  }
  for (const Json& entry : all) {
    if (entry.contains("config")) {
      fmt::print("{}\n", entry["config"].dump(2, ' ', false, Json::error_handler_t::replace));
    } else {
      fmt::print("{}\n", entry.dump(entry.contains("group") ? 2 : -1));
    }
    if (entry.contains("first_document")) print_document(entry["first_document"]);
    if (entry.contains("no_document")) fmt::print("no document: {}\n", entry["no_document"].get<std::string>());
  }
  return ExitCode::kComplete;
}

}  // namespace evalmpi::cli

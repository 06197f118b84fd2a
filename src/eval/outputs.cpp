#include "outputs.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "markdown.h"

namespace evalmpi::eval {
namespace {

// name -> metric -> higher is better, or null where the members of a group disagree.
using Directions = std::map<std::string, std::map<std::string, Json>>;

Json metric_entries(const task::TaskResult& result) {
  Json entry = {{"name", result.name}, {"alias", result.alias}, {"sample_len", result.n_documents}};
  for (const task::MetricResult& metric : result.metrics) {
    entry[metric.metric + "," + metric.filter] = metric.value;
    entry[metric.metric + "_stderr," + metric.filter] =
        metric.standard_error ? Json(*metric.standard_error) : Json("N/A");
  }
  if (!result.is_group) return entry;
  Json counts = Json::object();
  for (const task::MetricResult& metric : result.metrics) counts[metric.key()] = metric.n_values;
  entry["sample_count"] = counts;
  return entry;
}

Directions directions(const FinishedTasks& finished) {
  Directions all;
  for (const task::Task* task : finished.tasks) {
    for (const task::MetricConfig& metric : task->config().metrics) {
      all[task->name()][metric.name] = metric.higher_is_better;
    }
  }
  // Groups come parents first; their members must be known before them.
  for (auto group = finished.groups.rbegin(); group != finished.groups.rend(); ++group) {
    for (const std::string& child : group->children) {
      if (!all.contains(child)) continue;
      for (const auto& [metric, higher] : std::map(all[child])) {
        const auto [known, is_new] = all[group->name].try_emplace(metric, higher);
        if (!is_new && known->second != higher) known->second = nullptr;
      }
    }
  }
  return all;
}

std::map<std::string, int> shots(const FinishedTasks& finished) {
  std::map<std::string, int> all;
  for (const task::Task* task : finished.tasks) all[task->name()] = task->num_fewshot();
  for (auto group = finished.groups.rbegin(); group != finished.groups.rend(); ++group) {
    std::set<int> values;
    for (const std::string& child : group->children) {
      if (const auto found = all.find(child); found != all.end()) values.insert(found->second);
    }
    if (values.size() == 1) all[group->name] = *values.begin();
  }
  return all;
}

std::map<std::string, Json> versions(const FinishedTasks& finished) {
  std::map<std::string, Json> all;
  for (const task::Task* task : finished.tasks) all[task->name()] = task->config().version;
  for (const task::GroupConfig& group : finished.groups) all[group.name] = group.version;
  return all;
}

template <typename Map>
Json as_object(const Map& map) {
  Json object = Json::object();
  for (const auto& [name, value] : map) object[name] = value;
  return object;
}

// The order and depth of names: groups with their members below them, everything by name. groups: name -> members.
std::vector<std::pair<std::string, int>> hierarchy(const std::map<std::string, std::vector<std::string>>& groups,
                                                   const std::vector<std::string>& tasks) {
  std::set<std::string> members;
  for (const auto& [name, children] : groups) members.insert(children.begin(), children.end());
  std::vector<std::pair<std::string, int>> ordered;
  std::set<std::string> seen;
  const std::function<void(const std::string&, int)> visit = [&](const std::string& name, int depth) {
    ordered.emplace_back(name, depth);
    seen.insert(name);
    const auto group = groups.find(name);
    if (group == groups.end()) return;
    std::vector<std::string> children = group->second;
    std::sort(children.begin(), children.end());
    for (const std::string& child : children) visit(child, depth + 1);
  };
  for (const auto& [name, children] : groups) {
    if (!members.contains(name)) visit(name, 0);
  }
  std::set<std::string> alone;
  for (const std::string& task : tasks) {
    if (!seen.contains(task)) alone.insert(task);
  }
  for (const std::string& name : alone) ordered.emplace_back(name, 0);
  return ordered;
}

std::vector<std::pair<std::string, int>> hierarchy(const FinishedTasks& finished) {
  std::map<std::string, std::vector<std::string>> groups;
  for (const task::GroupConfig& group : finished.groups) groups[group.name] = group.children;
  std::vector<std::string> tasks;
  for (const task::Task* task : finished.tasks) tasks.push_back(task->name());
  return hierarchy(groups, tasks);
}

using Cells = std::vector<std::string>;

Json at(const Json& json, const std::string& a, const std::string& b) {
  const Json inner = json.value(a, Json());
  return inner.is_object() ? inner.value(b, Json()) : Json();
}

// A number that JSON cannot say is null.
std::string shown_number(const Json& value) {
  return fmt::format("{:.4f}", value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN());
}

// One task's or group's rows; `name` and `version` stand in the first.
void add_rows(const Json& results, const std::string& task, const Json& values, std::string name,
              std::vector<Cells>& rows) {
  std::string version = text::python::str(at(results, "versions", task));
  const Json shots = at(results, "n-shot", task);
  const Json directions = at(results, "higher_is_better", task);
  bool has_metrics = false;
  for (const MetricName& metric : metric_names(values)) {
    has_metrics = true;
    const Json higher = directions.is_object() ? directions.value(metric.metric, Json()) : Json();
    const std::string arrow = !higher.is_boolean() ? "" : higher.get<bool>() ? "↑" : "↓";
    const Json error = values.value(metric.metric + "_stderr," + metric.filter, Json());
    rows.push_back({name, version, metric.filter, shots.is_number() ? shots.dump() : " ", metric.metric, arrow,
                    shown_number(values.at(metric.metric + "," + metric.filter)), "±",
                    error.is_number() ? shown_number(error) : "   N/A"});
    name.clear();
    version.clear();
  }
  if (!has_metrics) rows.push_back({name, version, "", "", "", "", "", "", ""});
}

std::string table_of(const Json& results, const char* title, const Json& shown) {
  std::map<std::string, std::vector<std::string>> groups;
  std::vector<std::string> tasks;
  for (const auto& [group, children] : results.at("group_subtasks").items()) groups[group] = children;
  for (const auto& [task, counts] : results.at("n-samples").items()) tasks.push_back(task);
  std::vector<Cells> rows;
  for (const auto& [name, depth] : hierarchy(groups, tasks)) {
    const auto values = shown.find(name);
    if (values == shown.end()) continue;
    const std::string alias = text::python::str(values->value("alias", Json(name)));
    add_rows(results, name, *values, (depth > 0 ? std::string(depth, ' ') + "- " : "") + alias, rows);
  }
  return markdown_table({title, "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"}, rows);
}

Json spread(std::vector<float> values) {
  if (values.empty()) return nullptr;
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {  // nearest rank
    const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size())));
    return static_cast<double>(values[std::max<size_t>(rank, 1) - 1]);
  };
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {{"mean", sum / static_cast<double>(values.size())}, {"p50", at(0.5)}, {"p99", at(0.99)}, {"max", at(1)}};
}

}  // namespace

Json generation_timings(const std::vector<const store::TaskResults*>& tables) {
  Json all = Json::object();
  for (const store::TaskResults* table : tables) {
    const store::TimingTable& timings = table->timings;
    if (timings.row.empty()) continue;
    int64_t prompt_tokens = 0, new_tokens = 0;
    int64_t ended[3] = {0, 0, 0};
    std::vector<float> gaps, tokens_per_second;
    for (size_t i = 0; i < timings.row.size(); ++i) {
      const int32_t row = timings.row[i];
      const int32_t made = table->requests.token_count[row];
      prompt_tokens += table->requests.prompt_tokens[row];
      new_tokens += made;
      ++ended[table->requests.finish[row]];
      if (made < 2) continue;
      gaps.push_back(timings.mean_gap_seconds[i]);
      if (timings.mean_gap_seconds[i] > 0) tokens_per_second.push_back(1 / timings.mean_gap_seconds[i]);
    }
    all[table->name] = {{"generations", timings.row.size()},
                        {"prompt_tokens", prompt_tokens},
                        {"new_tokens", new_tokens},
                        {"finish", {{"stop", ended[0]}, {"end_token", ended[1]}, {"length", ended[2]}}},
                        {"first_token_seconds", spread(timings.first_token_seconds)},
                        {"gap_seconds", spread(gaps)},
                        {"longest_gap_seconds", spread(timings.max_gap_seconds)},
                        {"tokens_per_second", spread(tokens_per_second)}};
  }
  return all;
}

Json texts_of_responses(const Json& value) {
  if (!value.is_array()) return text::python::str(value);
  Json list = Json::array();
  for (const Json& item : value) list.push_back(texts_of_responses(item));
  return list;
}

Json results_json(const FinishedTasks& finished) {
  std::map<std::string, const task::TaskResult*> by_name;
  for (const task::TaskResult& result : finished.results) by_name[result.name] = &result;
  for (const task::TaskResult& result : finished.group_results) by_name[result.name] = &result;
  Json json = Json::object();
  Json& results = json["results"] = Json::object();
  for (const auto& [name, depth] : hierarchy(finished)) {
    if (const auto found = by_name.find(name); found != by_name.end()) results[name] = metric_entries(*found->second);
  }
  if (!finished.group_results.empty()) {
    Json& groups = json["groups"] = Json::object();
    for (const task::TaskResult& result : finished.group_results) groups[result.name] = metric_entries(result);
  }
  Json& subtasks = json["group_subtasks"] = Json::object();
  for (const task::GroupConfig& group : finished.groups) subtasks[group.name] = group.children;
  std::map<std::string, Json> configs;
  Json samples = Json::object();
  Json hashes = Json::object();
  for (size_t i = 0; i < finished.tasks.size(); ++i) {
    const task::Task& task = *finished.tasks[i];
    configs[task.name()] = task.config().dump;
    samples[task.name()] = {{"original", task.n_rows()}, {"effective", task.evaluated_rows().size()}};
    hashes[task.name()] = finished.hashes[i];
  }
  Json higher = Json::object();
  for (const auto& [name, metrics] : directions(finished)) higher[name] = as_object(metrics);
  json["configs"] = as_object(configs);
  json["versions"] = as_object(versions(finished));
  json["n-shot"] = as_object(shots(finished));
  json["higher_is_better"] = higher;
  json["n-samples"] = samples;
  json["task_hashes"] = hashes;
  return json;
}

std::vector<MetricName> metric_names(const Json& values) {
  std::vector<MetricName> names;
  for (const auto& [key, value] : values.items()) {
    const size_t comma = key.find(',');
    if (comma == key.npos) continue;
    MetricName name{key.substr(0, comma), key.substr(comma + 1)};
    if (!name.metric.ends_with("_stderr")) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end(), [](const MetricName& a, const MetricName& b) {
    return a.metric + "," + a.filter < b.metric + "," + b.filter;
  });
  return names;
}

std::string results_heading(const Json& run) {
  const auto text = [&](const char* name) { return text::python::str(run.value(name, Json())); };
  const Json limit = run.value("option.limit", Json()), shots = run.value("option.num-fewshot", Json());
  return fmt::format("evalmpi {} (dtype {}, {}), limit: {}, num_fewshot: {}\n\n", text("option.model"),
                     run.value("dtype", "float32"), text("layout"),
                     limit.is_number() ? fmt::format("{}", limit.get<double>()) : "none",
                     shots.is_null() ? "per task" : text("option.num-fewshot"));
}

std::string results_table(const Json& results) {
  std::string text = table_of(results, "Tasks", results.at("results"));
  if (results.contains("groups")) text += "\n" + table_of(results, "Groups", results.at("groups"));
  return text;
}

}  // namespace evalmpi::eval

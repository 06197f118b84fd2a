#include "summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/json.h"
#include "evalmpi/eval/compare_runs.h"
#include "evalmpi/job/attempt.h"
#include "evalmpi/store/results_file.h"
#include "markdown.h"
#include "outputs.h"
#include "publish.h"

namespace evalmpi::eval {
namespace fs = std::filesystem;
namespace {

struct Entry {
  std::string task, metric, filter;
  size_t combination = 0;
  double value = 0;
  std::optional<double> standard_error;
  Json higher_is_better, shots, documents;  // null: not known
  // Against the first combination that has the task.
  std::optional<size_t> compared_with;
  double difference = 0;
  std::optional<double> paired_standard_error, mcnemar_p;

  bool is_same_metric(const Entry& other) const {
    return task == other.task && metric == other.metric && filter == other.filter;
  }
};

// json[a][b], null where one is missing.
Json at(const Json& json, const char* a, const std::string& b) {
  return json.contains(a) && json.at(a).contains(b) ? json.at(a).at(b) : Json();
}

void add_task(const Json& results, const std::string& task, const Json& values, size_t combination,
              std::vector<Entry>& entries) {
  for (const auto& [metric, filter] : metric_names(values)) {
    const Json value = values.at(metric + "," + filter);
    if (!value.is_number()) continue;
    Entry entry;
    entry.task = task, entry.metric = metric, entry.filter = filter;
    entry.combination = combination;
    entry.value = value.get<double>();
    const Json error = values.value(metric + "_stderr," + filter, Json());
    if (error.is_number()) entry.standard_error = error.get<double>();
    const Json directions = at(results, "higher_is_better", task);
    if (directions.is_object()) entry.higher_is_better = directions.value(metric, Json());
    entry.shots = at(results, "n-shot", task);
    const Json counts = at(results, "n-samples", task);
    if (counts.is_object()) entry.documents = counts.value("effective", Json());
    entries.push_back(std::move(entry));
  }
}

// By task as they come, then metric and filter, then combination.
std::vector<Entry> in_order(std::vector<Entry> entries) {
  std::vector<Entry> ordered;
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto is_same = [&](const Entry& other) { return other.is_same_metric(entries[i]); };
    if (std::any_of(ordered.begin(), ordered.end(), is_same)) continue;
    std::copy_if(entries.begin() + static_cast<int64_t>(i), entries.end(), std::back_inserter(ordered), is_same);
  }
  return ordered;
}

// Of the same documents, and of means of documents: then the difference of the values is what the pairs say.
const MetricComparison* paired(const RunComparison& runs, const Entry& entry) {
  for (const TaskComparison& task : runs.tasks) {
    if (task.task != file_part(entry.task) || task.filter != entry.filter) continue;
    if (!task.only_in_a.empty() || !task.only_in_b.empty() || !task.other_documents.empty()) return nullptr;
    for (const MetricComparison& metric : task.metrics) {
      if (metric.metric != entry.metric || metric.documents != task.documents) continue;
      const double difference = metric.difference() - entry.difference;
      return std::abs(difference) <= 1e-9 * std::max(1.0, std::abs(entry.value)) ? &metric : nullptr;
    }
  }
  return nullptr;
}

void compare_with_first(const std::vector<SummarisedRun>& runs, std::vector<Entry>& entries) {
  const Entry* first = nullptr;
  for (Entry& entry : entries) {
    if (first == nullptr || !entry.is_same_metric(*first)) {
      first = &entry;
      continue;
    }
    entry.compared_with = first->combination;
    entry.difference = entry.value - first->value;
  }
  for (size_t with = 0; with < runs.size(); ++with) {
    for (size_t i = with + 1; i < runs.size(); ++i) {
      const auto is_pair = [&](const Entry& entry) { return entry.combination == i && entry.compared_with == with; };
      const fs::path &a = runs[i].folder, &b = runs[with].folder;
      const bool is_needed = std::any_of(entries.begin(), entries.end(), is_pair);
      if (!is_needed || find_samples(a).empty() || find_samples(b).empty()) continue;
      const RunComparison comparison = compare_runs(a, b, {});
      for (Entry& entry : entries) {
        const MetricComparison* metric = is_pair(entry) ? paired(comparison, entry) : nullptr;
        if (metric == nullptr) continue;
        entry.paired_standard_error = metric->paired_standard_error;
        if (metric->is_binary) entry.mcnemar_p = metric->mcnemar_p;
      }
    }
  }
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string cell(const std::optional<double>& value) { return value ? fmt::format("{}", *value) : ""; }
std::string cell(const Json& value) { return value.is_null() ? "" : value.dump(); }

std::string run_option(const SummarisedRun& run, const std::string& name) {
  const Json value = at(run.results, "run", "option." + name);
  return value.is_string() ? value.get<std::string>() : "";
}

std::string csv(const std::vector<Entry>& entries, const std::vector<SummarisedRun>& runs) {
  std::string text =
      "task,filter,metric,higher_is_better,combination,model,adapter,num_fewshot,documents,value,stderr,compared_with,"
      "difference,paired_stderr,mcnemar_p\n";
  for (const Entry& entry : entries) {
    const SummarisedRun& run = runs[entry.combination];
    const std::string with = entry.compared_with ? runs[*entry.compared_with].name : "";
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", quoted(entry.task), quoted(entry.filter),
                        quoted(entry.metric), cell(entry.higher_is_better), quoted(run.name),
                        quoted(run_option(run, "model")), quoted(run_option(run, "adapter")), cell(entry.shots),
                        cell(entry.documents), entry.value, cell(entry.standard_error), quoted(with),
                        entry.compared_with ? fmt::format("{}", entry.difference) : "",
                        cell(entry.paired_standard_error), cell(entry.mcnemar_p));
  }
  return text;
}

std::string rounded(const std::optional<double>& value) { return value ? fmt::format("{:.4f}", *value) : "N/A"; }

std::string markdown(const std::vector<Entry>& entries, const std::vector<SummarisedRun>& runs) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    const bool is_new = i == 0 || !entry.is_same_metric(entries[i - 1]);
    const std::string arrow = !entry.higher_is_better.is_boolean() ? ""
                              : entry.higher_is_better.get<bool>() ? "↑"
                                                                   : "↓";
    rows.push_back({is_new ? entry.task : "", is_new ? entry.filter : "", is_new ? entry.metric : "",
                    is_new ? arrow : "", runs[entry.combination].name, cell(entry.shots),
                    fmt::format("{:.4f}", entry.value), "±", rounded(entry.standard_error),
                    entry.compared_with ? fmt::format("{:+.4f}", entry.difference) : "", entry.compared_with ? "±" : "",
                    entry.compared_with ? rounded(entry.paired_standard_error) : ""});
  }
  return markdown_table({"Tasks", "Filter", "Metric", "", "Combination", "n-shot", "Value", "", "Stderr", "Difference",
                         "", "Paired stderr"},
                        rows);
}

}  // namespace

Json read_published(const fs::path& folder) {
  const fs::path file = folder / "results.h5";
  const store::ResultsFile published = store::read_results(file);
  Json run = Json::object();
  Json results;
  for (const auto& [name, value] : published.run) {
    if (name == "results" && value.is_string()) {
      results = parse_json(value.get_ref<const std::string&>(), file.string() + " /run results");
    } else {
      run[name] = value;
    }
  }
  if (!results.is_object()) fail(ExitCode::kBadInput, "{}: /run has no results", file.string());
  for (const char* key : {"results", "group_subtasks", "n-samples"}) {
    if (!results.value(key, Json()).is_object())
      fail(ExitCode::kBadInput, "{}: /run results lack {}", file.string(), key);
  }
  results["run"] = std::move(run);
  return results;
}

Summary summarise(const std::vector<SummarisedRun>& runs) {
  std::vector<Entry> entries;
  for (size_t i = 0; i < runs.size(); ++i) {
    for (const auto& [task, values] : runs[i].results.at("results").items())
      add_task(runs[i].results, task, values, i, entries);
  }
  entries = in_order(std::move(entries));
  compare_with_first(runs, entries);
  return {csv(entries, runs), markdown(entries, runs)};
}

std::vector<SummarisedRun> read_combinations(const fs::path& folder, const std::vector<Combination>& combinations) {
  std::vector<SummarisedRun> runs;
  for (const Combination& combination : combinations) {
    const fs::path of_run = folder / combination.name;
    runs.push_back({combination.name, of_run, read_published(of_run)});
  }
  return runs;
}

std::string publish_summary(const fs::path& folder, const std::vector<Combination>& combinations) {
  const Summary summary = summarise(read_combinations(folder, combinations));
  write_file_atomically(folder / kSummaryCsv, summary.csv);
  write_file_atomically(folder / kSummaryMarkdown, summary.markdown);
  return fmt::format(
      "\n{} combinations; differences are from the first one, with standard errors paired by document\n\n{}\nresults: "
      "{}\n",
      combinations.size(), summary.markdown, folder.string());
}

bool holds_combinations(const fs::path& folder) {
  const std::optional<Json> manifest = job::read_manifest(folder);
  return manifest && manifest->at("must_match") == one_folder_each();
}

Json one_folder_each() { return {{"results", "a folder for each combination"}}; }

}  // namespace evalmpi::eval

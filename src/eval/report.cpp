#include "evalmpi/eval/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "evalmpi/base/error.h"
#include "evalmpi/eval/combinations.h"
#include "evalmpi/job/attempt.h"
#include "evalmpi/store/output_lock.h"
#include "evalmpi/store/status_file.h"
#include "outputs.h"
#include "rebuild.h"
#include "summary.h"

namespace evalmpi::eval {
namespace fs = std::filesystem;
namespace {

constexpr std::array<const char*, 4> kFormats{"text", "markdown", "csv", "json"};

// "": the last attempt is complete.
std::string warning_of(const fs::path& directory) {
  const std::optional<Json> status = store::read_status(directory);
  if (!status || (*status)["state"] == "complete") return "";
  return fmt::format("warning: these are the results of an earlier attempt; the last one is not complete ({})\n",
                     (*status)["state"].get<std::string>());
}

[[noreturn]] void fail_without_results(const fs::path& directory) {
  const std::optional<Json> status = store::read_status(directory);
  if (!status)
    fail(ExitCode::kMissingInput, "{}: no results.h5 and no status.json: not the folder of a run", directory.string());
  const std::optional<Json> manifest = job::read_manifest(directory);
  if (manifest && !manifest->value("may_differ", Json::object()).contains("tasks")) {
    fail(ExitCode::kMissingInput,
         "{}: not a run of tasks, so it has no table: its results are in outputs.jsonl, its figures in summary.json, "
         "and evalmpi status {} shows how it ended",
         directory.string(), directory.string());
  }
  fail(ExitCode::kMissingInput,
       "{}: no results.h5; the run's state is \"{}\". If it is not at work, start evalmpi eval with -o {} again, or, "
       "when every answer is there, evalmpi report {} --rebuild",
       directory.string(), (*status)["state"].get<std::string>(), directory.string(), directory.string());
}

std::string report_of_one(const fs::path& directory, const std::string& format) {
  if (!fs::exists(directory / "results.h5")) fail_without_results(directory);
  const Json results = read_published(directory);
  if (format == "json") return results.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (format == "csv") return summarise({{directory.filename().string(), directory, results}}).csv;
  if (format == "markdown") return results_table(results);
  return results_heading(results["run"]) + results_table(results) + warning_of(directory);
}

std::string report_of_several(const fs::path& directory, const std::vector<Combination>& combinations,
                              const std::string& format) {
  for (const Combination& combination : combinations) {
    if (!fs::exists(directory / combination.name / "results.h5")) fail_without_results(directory / combination.name);
  }
  const std::vector<SummarisedRun> runs = read_combinations(directory, combinations);
  if (format == "json") {
    Json all = Json::object();
    for (const SummarisedRun& run : runs) all[run.name] = run.results;
    return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  const Summary summary = summarise(runs);
  if (format == "csv") return summary.csv;
  return summary.markdown + (format == "text" ? warning_of(directory) : "");
}

// In the order in which the last start named them.
std::vector<Combination> combinations_in(const fs::path& directory) {
  JobOptions options;
  std::vector<Field> all = fields(options);
  set_from_json(job::read_manifest(directory)->value("may_differ", Json::object()), all);
  return combinations(options);
}

void rebuild_job(const fs::path& directory, const std::vector<Combination>& combinations) {
  const store::OutputLock lock =
      store::OutputLock::acquire(directory, {{"run", job::read_manifest(directory)->at("run_id")}});
  for (const Combination& combination : combinations) rebuild_run(directory / combination.name);
  publish_summary(directory, combinations);
  store::write_status(directory, {{"state", "complete"},
                                  {"exit_code", 0},
                                  {"combinations", combinations.size()},
                                  {"combinations_done", combinations.size()},
                                  {"results", {kSummaryCsv, kSummaryMarkdown}},
                                  {"rebuilt", true}});
}

}  // namespace

std::vector<Field> fields(ReportedRun& run) {
  return {text_field("format", "FORMAT", run.format, "text, markdown, csv or json. Default text.", Affects::kOutput),
          switch_field("rebuild", run.rebuild,
                       "Make results.h5, results_*.json and samples_*.jsonl anew from the logs.", Affects::kOutput)};
}

std::string report(const ReportedRun& run) {
  if (std::find(kFormats.begin(), kFormats.end(), run.format) == kFormats.end()) {
    fail(ExitCode::kUsage, "--format {}: text, markdown, csv or json was expected", run.format);
  }
  const fs::path directory = fs::absolute(run.directory).lexically_normal();
  if (!fs::is_directory(directory)) fail(ExitCode::kMissingInput, "{}: no such folder", directory.string());
  if (!holds_combinations(directory)) {
    if (run.rebuild) rebuild_run(directory);
    return report_of_one(directory, run.format);
  }
  const std::vector<Combination> combinations = combinations_in(directory);
  if (run.rebuild) rebuild_job(directory, combinations);
  return report_of_several(directory, combinations, run.format);
}

}  // namespace evalmpi::eval

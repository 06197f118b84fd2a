#include "evalmpi/eval/run_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "evalmpi/store/output_lock.h"
#include "evalmpi/store/status_file.h"
#include "progress.h"

namespace evalmpi::eval {
namespace fs = std::filesystem;
namespace {

// A run says something every three seconds.
constexpr double kSilentSeconds = 30;

double seconds_since_written(const fs::path& file) {
  std::error_code error;
  const auto written = fs::last_write_time(file, error);
  if (error) return 0;
  return std::max(0.0, std::chrono::duration<double>(fs::file_time_type::clock::now() - written).count());
}

// A field of an object on the way to what may be damaged: absent, or of another kind, gives the default.
double number(const Json& object, const char* name, double otherwise = 0) {
  const auto field = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && field != object.end() && field->is_number() ? field->get<double>() : otherwise;
}

std::string text(const Json& object, const char* name) {
  if (!object.is_object()) return "";
  const auto field = object.find(name);
  if (field == object.end() || field->is_null()) return "";
  return field->is_string() ? field->get<std::string>() : field->dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json& part(const Json& object, const char* name) {
  static const Json kNone = Json::object();
  const auto field = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && field != object.end() ? *field : kNone;
}

// Of several combinations the present one, else the run itself.
const Json& run_of(const Json& status) { return status.contains("run") ? status["run"] : status; }

std::string age_text(double seconds) { return seconds < 10 ? fmt::format("{:.0f} s", seconds) : clock_text(seconds); }

double percent(const Json& progress) {
  const double tokens = number(progress, "tokens");
  return tokens > 0 ? 100 * number(progress, "tokens_done") / tokens : 0;
}

std::string scores_text(const Json& scores) {
  std::string line;
  if (!scores.is_array()) return line;
  for (const Json& score : scores) {
    const std::string filter = text(score, "filter");
    line += fmt::format("{}{}{} {:.4f}", line.empty() ? "" : ", ", text(score, "metric"),
                        filter.empty() || filter == "none" ? "" : "," + filter, number(score, "value"));
    if (part(score, "standard_error").is_number()) line += fmt::format(" ± {:.4f}", number(score, "standard_error"));
  }
  return line;
}

std::string tasks_text(const Json& tasks) {
  if (!tasks.is_object() || tasks.empty()) return "";
  size_t width = 0;
  for (const auto& [name, task] : tasks.items()) width = std::max(width, name.size());
  std::string lines;
  for (const auto& [name, task] : tasks.items()) {
    const double requests = number(task, "requests"), missing = number(task, "missing");
    lines += fmt::format("  {:<{}}  {:>3.0f} %", name, width,
                         requests > 0 ? 100 * (1 - std::min(1.0, missing / requests)) : 100.0);
    const std::string scores = scores_text(part(task, "scores"));
    if (!scores.empty()) {
      lines += "  " + scores;
      const double documents = number(task, "documents"), scored = number(task, "documents_scored");
      if (scored < documents) lines += fmt::format("  ({:.0f} of {:.0f} documents)", scored, documents);
    }
    lines += "\n";
  }
  return lines;
}

std::string ranks_text(const Json& ranks) {
  std::string lines;
  if (const Json& slowest = part(ranks, "slowest"); !slowest.empty()) {
    lines +=
        fmt::format("slowest     rank {} on {}: {:.0f} tokens/s, {:.2f} of the fastest\n", text(slowest, "rank"),
                    text(slowest, "host"), number(slowest, "tokens_per_second"), number(slowest, "of_the_fastest"));
  }
  if (const Json& quietest = part(ranks, "quietest"); number(quietest, "silent_seconds") >= 5) {
    lines += fmt::format("quietest    rank {} on {} (process {}): silent for {}; it was last {}\n",
                         text(quietest, "rank"), text(quietest, "host"), text(quietest, "process"),
                         age_text(number(quietest, "silent_seconds")), text(quietest, "last"));
  }
  return lines;
}

std::string hosts_text(const Json& run) {
  std::string hosts;
  const Json& names = part(part(run, "ranks"), "hosts");
  constexpr size_t kMostShown = 8;
  for (size_t i = 0; i < std::min(names.size(), kMostShown); ++i) {
    if (names[i].is_string()) hosts += (hosts.empty() ? "" : ", ") + names[i].get<std::string>();
  }
  if (names.size() > kMostShown) hosts += fmt::format(" and {} more", names.size() - kMostShown);
  return hosts;
}

std::string combinations_text(const Json& status) {
  if (!status.contains("combinations")) return "";
  std::string line =
      fmt::format("combination {} of {} done", text(status, "combinations_done"), text(status, "combinations"));
  if (const std::string now = text(status, "combination"); !now.empty()) line += ", at work on " + now;
  return line + "\n";
}

// Whether what status.json calls work is work.
void judge(RunStatus& run, const fs::path& directory) {
  if (run.state != "starting" && run.state != "running") return;
  const store::Holder holder = store::holder_of(directory);
  run.heartbeat = holder.heartbeat;
  const std::string who = fmt::format("process {} on {}", text(run.status, "pid"), text(run.status, "host"));
  if (holder.life == store::HolderLife::kDead || holder.life == store::HolderLife::kNobody) {
    run.why_silent = fmt::format("{} is gone without a word", who);
  } else if (holder.life == store::HolderLife::kUnknown && run.age_seconds > kSilentSeconds) {
    run.why_silent = fmt::format("{} has given no sign of life for {}", who, age_text(run.age_seconds));
  } else {
    return;
  }
  run.state = "silent";
}

}  // namespace

RunStatus read_run_status(const fs::path& directory) {
  const fs::path file = directory / "status.json";
  const std::optional<Json> status = store::read_status(directory);
  if (!status) {
    fail(ExitCode::kMissingInput,
         "{}: no run has worked here (there is no status.json); give the folder of evalmpi's -o", directory.string());
  }
  RunStatus run{(*status)["state"], seconds_since_written(file), "", *status, ""};
  judge(run, directory);
  return run;
}

std::optional<ExitCode> outcome(const RunStatus& run) {
  if (run.state == "starting" || run.state == "running") return std::nullopt;
  if (run.state == "complete") return ExitCode::kComplete;
  if (run.state == "silent" || run.state == "stopped") return ExitCode::kStoppedEarly;
  return static_cast<ExitCode>(
      static_cast<int>(number(run.status, "exit_code", static_cast<int>(ExitCode::kInternal))));
}

Json to_json(const RunStatus& run) {
  Json json = {{"state", run.state}, {"age_seconds", run.age_seconds}};
  if (!run.why_silent.empty()) json["why_silent"] = run.why_silent;
  for (const auto& [name, value] : run.status.items()) {
    if (name != "state") json[name] = value;
  }
  return json;
}

std::string to_text(const RunStatus& run, const fs::path& directory) {
  const Json& of_run = run_of(run.status);
  const Json& progress = part(of_run, "progress");
  std::string lines = fmt::format("{}  {}, attempt {}, last sign of life {} ago\n", directory.string(), run.state,
                                  text(run.status, "attempt"), age_text(run.age_seconds));
  if (!run.why_silent.empty())
    lines += fmt::format("silent      {}: start it again with the same -o\n", run.why_silent);
  if (const std::string error = text(run.status, "error"); !error.empty())
    lines += fmt::format("error       {}\n", error);
  lines += combinations_text(run.status);
  if (const std::string layout = text(of_run, "layout"); !layout.empty()) {
    const std::string hosts = hosts_text(of_run);
    lines += fmt::format("layout      {}{}\n", layout, hosts.empty() ? "" : " (" + hosts + ")");
  }
  if (number(progress, "chunks") > 0) {
    lines += fmt::format("progress    {:.0f} % of {:.0f} tokens, {:.0f}/{:.0f} chunks", percent(progress),
                         number(progress, "tokens"), number(progress, "chunks_done"), number(progress, "chunks"));
    if (number(progress, "tokens_per_second") > 0)
      lines += fmt::format(", {:.0f} tokens/s", number(progress, "tokens_per_second"));
    if (run.state == "running" && part(progress, "left_seconds").is_number()) {
      lines += fmt::format(", {} left", clock_text(number(progress, "left_seconds")));
    }
    lines += "\n";
  }
  if (run.state != "complete") lines += ranks_text(part(of_run, "ranks"));
  lines += tasks_text(part(of_run, "tasks"));
  if (const Json& results = part(run.status, "results"); run.state == "complete" && results.is_array()) {
    for (const Json& file : results) {
      if (file.is_string()) lines += fmt::format("results     {}\n", file.get<std::string>());
    }
  }
  return lines;
}

std::string summary_line(const RunStatus& run) {
  const Json& of_run = run_of(run.status);
  std::string line = fmt::format("{}, attempt {}", run.state, text(run.status, "attempt"));
  if (const std::string now = text(run.status, "combination"); !now.empty()) line += ", " + now;
  if (const Json& progress = part(of_run, "progress"); number(progress, "chunks") > 0) {
    line += fmt::format(", {:.0f} %", percent(progress));
  }
  for (const auto& [name, task] : part(of_run, "tasks").items()) {
    const std::string scores = scores_text(part(task, "scores"));
    if (!scores.empty()) line += fmt::format(", {} {}", name, scores);
  }
  for (const std::string& said : {run.why_silent, text(run.status, "error")}) {
    if (!said.empty()) line += ": " + said;
  }
  return line;
}

}  // namespace evalmpi::eval

#include "evalmpi/eval/score.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <thread>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/json.h"
#include "evalmpi/base/log.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/task/task.h"
#include "evalmpi/task/task_index.h"
#include "evalmpi/text/python.h"
#include "outputs.h"
#include "publish.h"

namespace evalmpi::eval {
namespace {

namespace fs = std::filesystem;
namespace python = text::python;

constexpr std::string_view kPrefix = "samples_";
constexpr std::string_view kSuffix = ".jsonl";
constexpr size_t kTimeLength = std::string_view("_2026-01-31T12-00-00.000000").size();

// One document's line, from the first filter that the file has.
struct Sample {
  Json line;
  std::vector<std::vector<Json>> responses;  // by request, then by repeat
};

// The newest samples file of each task.
std::map<std::string, fs::path> find_samples(const fs::path& directory) {
  if (!fs::is_directory(directory)) fail(ExitCode::kMissingInput, "{}: no such folder", directory.string());
  std::map<std::string, fs::path> newest;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) || !entry.is_regular_file()) continue;
    if (name.size() <= kPrefix.size() + kTimeLength + kSuffix.size()) continue;
    const std::string task = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kTimeLength - kSuffix.size());
    fs::path& known = newest[task];
    if (known.empty() || known.filename() < entry.path().filename()) known = entry.path();
  }
  if (newest.empty()) {
    fail(ExitCode::kMissingInput, "{}: no samples_<task>_<time>.jsonl here or below; run with --log-samples",
         directory.string());
  }
  return newest;
}

constexpr std::string_view kNamedNumbers[] = {"NaN", "-Infinity", "Infinity"};

// Texts that stand for them while the rest is parsed.
void restore_named_numbers(Json& value) {
  if (value.is_structured()) {
    for (Json& item : value) restore_named_numbers(item);
  } else if (value.is_string() && value.get_ref<const std::string&>().starts_with('\0')) {
    const std::string_view name = std::string_view(value.get_ref<const std::string&>()).substr(1);
    const double infinity = std::numeric_limits<double>::infinity();
    if (name == "NaN")
      value = std::numeric_limits<double>::quiet_NaN();
    else if (name == "Infinity")
      value = infinity;
    else if (name == "-Infinity")
      value = -infinity;
  }
}

// JSON with NaN, Infinity and -Infinity, as Python writes it and our outputs do. FAILS: as parse_json.
Json parse_python_json(std::string_view text, const std::string& where) {
  const bool may_have_names = text.find("NaN") != text.npos || text.find("Infinity") != text.npos;
  if (!may_have_names) return parse_json(text, where);
  std::string plain;
  bool is_in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto* name = std::find_if(std::begin(kNamedNumbers), std::end(kNamedNumbers), [&](std::string_view one) {
      return !is_in_string && text.substr(i).starts_with(one);
    });
    if (name != std::end(kNamedNumbers)) {
      plain += "\"\\u0000" + std::string(*name) + "\"";
      i += name->size() - 1;
      continue;
    }
    plain += text[i];
    if (is_in_string && text[i] == '\\' && i + 1 < text.size())
      plain += text[++i];
    else if (text[i] == '"')
      is_in_string = !is_in_string;
  }
  Json value = parse_json(plain, where);
  restore_named_numbers(value);
  return value;
}

// The newest results_<time>.json beside a samples file, or nothing.
Json results_beside(const fs::path& samples) {
  fs::path newest;
  for (const fs::directory_entry& entry : fs::directory_iterator(samples.parent_path())) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("results_") && name.ends_with(".json") && name > newest.filename().string())
      newest = entry.path();
  }
  return newest.empty() ? Json::object() : parse_python_json(read_file(newest), newest.string());
}

double to_number(const std::string& text, const std::string& where) {
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail(ExitCode::kBadInput, "{}: \"{}\" is not a log-likelihood", where, text);
  return value;
}

// A response as it was before it was logged as text.
Json to_response(const Json& logged, task::OutputType type, const std::string& where) {
  // A task that generates may have scored texts as well.
  if (type == task::OutputType::kGenerateUntil && logged.is_string()) return logged;
  if (type == task::OutputType::kLoglikelihoodRolling) {
    const Json& value = logged.is_array() && !logged.empty() ? logged.front() : logged;
    return value.is_number() ? value : Json(to_number(python::str(value), where));
  }
  if (!logged.is_array() || logged.size() != 2)
    fail(ExitCode::kBadInput, "{}: an answer must be {}[log-likelihood, is greedy]", where,
         type == task::OutputType::kGenerateUntil ? "a text or " : "");
  return task::loglikelihood_response(to_number(python::str(logged[0]), where), python::str(logged[1]) == "True");
}

std::vector<Sample> read_samples(const fs::path& file, task::OutputType type) {
  std::vector<Sample> samples;
  std::string first_filter;
  int64_t number = 0;
  for (const std::string& text : python::split(read_file(file, uint64_t{1} << 40), "\n")) {
    const std::string where = fmt::format("{}:{}", file.string(), ++number);
    if (text.empty()) continue;
    Json line = parse_python_json(text, where);
    if (!line.contains("doc") || !line["doc"].is_object() || !line.contains("resps") || !line["resps"].is_array() ||
        !line.contains("doc_id") || !line["doc_id"].is_number_integer()) {
      fail(ExitCode::kBadInput, "{}: not a sample: doc_id, doc and resps are needed", where);
    }
    const std::string filter = python::str(line.value("filter", Json("none")));
    if (samples.empty()) first_filter = filter;
    if (filter != first_filter) continue;
    Sample sample;
    for (const Json& repeats : line["resps"]) {
      std::vector<Json> responses;
      for (const Json& response : repeats.is_array() ? repeats : Json::array({repeats})) {
        responses.push_back(to_response(response, type, where));
      }
      sample.responses.push_back(std::move(responses));
    }
    sample.line = std::move(line);
    samples.push_back(std::move(sample));
  }
  if (samples.empty()) fail(ExitCode::kBadInput, "{}: no samples", file.string());
  std::stable_sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
    return a.line["doc_id"].get<int64_t>() < b.line["doc_id"].get<int64_t>();
  });
  return samples;
}

task::Task task_of(task::TaskConfig config, const std::vector<Sample>& samples, const Json& old_results) {
  data::Split documents;
  for (const Sample& sample : samples) documents.rows.push_back(sample.line["doc"]);
  for (const auto& [column, value] : documents.rows.front().items()) documents.columns.push_back(column);
  if (const Json shots = old_results.value("n-shot", Json::object());
      shots.contains(config.name) && shots[config.name].is_number_integer()) {
    config.num_fewshot = shots[config.name];
  }
  task::TaskOptions options;
  options.draws_examples = false;
  return task::Task::from_documents(std::move(config), std::move(documents), {}, options);
}

// The sample's lines with new filtered responses and metrics.
void append_lines(const Sample& sample, const std::vector<task::FilterScores>& filters,
                  std::vector<std::string>& lines_of_filter) {
  lines_of_filter.resize(filters.size());
  Json base = sample.line;
  for (const Json& metric : base.value("metrics", Json::array())) base.erase(python::str(metric));
  for (size_t f = 0; f < filters.size(); ++f) {
    Json line = base;
    line["filter"] = filters[f].filter;
    line["filtered_resps"] = texts_of_responses(filters[f].filtered_responses);
    line["metrics"] = Json::array();
    for (const auto& [name, value] : filters[f].metrics) {
      line["metrics"].push_back(name);
      line[name] = value;
    }
    lines_of_filter[f] += python::json_dumps(line, {-1, false, false}) + "\n";
  }
}

struct Rescored {
  std::vector<task::Task> tasks;
  FinishedTasks finished;
  std::map<std::string, std::string> samples;  // the new lines by task
};

void rescore(const task::TaskConfig& config, const fs::path& file, const Json& old_results, const ScoreOptions& options,
             Rescored& all) {
  const std::vector<Sample> samples = read_samples(file, config.output_type);
  all.tasks.push_back(task_of(config, samples, old_results));
  const task::Task& task = all.tasks.back();
  task::ScoreTable scores;
  std::vector<std::string> lines_of_filter;
  for (size_t i = 0; i < samples.size(); ++i) {
    const std::vector<task::FilterScores> filters = task.score(static_cast<int64_t>(i), samples[i].responses);
    scores.add(filters);
    append_lines(samples[i], filters, lines_of_filter);
  }
  all.finished.results.push_back(scores.result(task.config(), options.bootstrap_iterations, device::usable_cores()));
  all.finished.hashes.push_back(old_results.value("task_hashes", Json::object()).value(config.name, ""));
  for (const std::string& lines : lines_of_filter) all.samples[config.name] += lines;
}

void write_files(const Rescored& all, const Json& old_results, const ScoreOptions& options) {
  const fs::path folder = options.output;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(ExitCode::kCannotWrite, "{}: cannot be made: {}", folder.string(), error.message());
  const std::string time = local_time_id();
  for (const auto& [task, lines] : all.samples) {
    write_file_atomically(folder / fmt::format("samples_{}_{}.jsonl", file_part(task), time), lines);
  }
  Json json = old_results;
  json.update(results_json(all.finished));
  json["evalmpi_scored_from"] = options.directory.string();
  write_file_atomically(folder / ("results_" + time + ".json"), python::json_dumps(json, {2, false, false}) + "\n");
}

}  // namespace

std::vector<Field> fields(ScoreOptions& o) {
  using enum Affects;
  std::vector<Field> all = {
      list_field("tasks", "A,B", o.tasks, "Tasks, groups, tags or globs to score. Default: all that have samples.",
                 kNumbers),
      path_list_field("include-path", "DIR", o.include_paths,
                      "Folder with further task files; its tasks replace built-in ones of the same name.", kNumbers),
      integer_field("bootstrap-iters", "N", o.bootstrap_iterations, 0,
                    "Resamples for standard errors that have no closed form. 0: none. Default 100000.", kNumbers),
      path_field("output", "DIR", o.output, "Write new samples and results files there. Default: print the table only.",
                 kOutput)};
  all.front().takes_more = true;
  all.front().letter = 't';
  all.back().letter = 'o';
  return all;
}

std::string score(const ScoreOptions& options) {
  const std::map<std::string, fs::path> files = find_samples(options.directory);
  std::vector<fs::path> roots{task::builtin_tasks_dir()};
  roots.insert(roots.end(), options.include_paths.begin(), options.include_paths.end());
  std::vector<std::string> names = options.tasks;
  if (names.empty()) {
    for (const auto& [task, file] : files) names.push_back(task);
  }
  task::Selection selection = task::TaskIndex::scan(roots).select(names);
  for (const std::string& changed : selection.changed_functions) log::warning("{}", changed);
  Rescored all;
  all.tasks.reserve(selection.tasks.size());
  Json old_results;
  for (const task::TaskConfig& config : selection.tasks) {
    const auto file = files.find(file_part(config.name));
    if (file == files.end()) {
      fail(ExitCode::kMissingInput, "{}: no samples of task {}", options.directory.string(), config.name);
    }
    old_results = results_beside(file->second);
    rescore(config, file->second, old_results, options, all);
  }
  for (const task::Task& task : all.tasks) all.finished.tasks.push_back(&task);
  all.finished.groups = std::move(selection.groups);
  for (const task::GroupConfig& group : all.finished.groups) {
    if (!group.metrics.empty())
      all.finished.group_results.push_back(task::aggregate_group(group, all.finished.results));
  }
  if (!options.output.empty()) write_files(all, old_results, options);
  return results_table(results_json(all.finished));
}

}  // namespace evalmpi::eval

// What evalmpi makes of templates, task files and patterns, for comparison with Python: one JSON object a line in,
// one a line out.
//
//   task_probe render     {"template", "document"} -> {"text"} or {"error"}
//   task_probe yaml       {"text"} -> {"value"} or {"error"}
//   task_probe findall    {"pattern", "text"} -> {"groups": [[..], ..]} or {"error"}
//   task_probe requests   {"task", "shots", "documents", "pool", "columns", "chat", "system"} -> {"requests":
//   [[context,
//                         continuation or generation settings], ..], "targets": [..]} or {"error"}; task names are
//                         looked up below the folders after the command; chat: "" for plain text, "turns", or "one
//                         turn"
//   task_probe names      {} -> {"names": [..]} of all tasks and groups
//   task_probe marks      {"task"} -> {"marks": [..]}: what is known of the Python functions of a task
//   task_probe scores     {"task", "shots": [0, ..], "files": {split: Parquet file}, "responses": [by document [by
//                         request [by repeat]]]} -> {"requests": {shots: as above}, "targets", "metrics": [[filter,
//                         {..}], ..], "scores": {"metric,filter": ..}}; the answers are those to 0 examples

#include <iostream>
#include <map>
#include <string>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"
#include "evalmpi/task/task.h"
#include "evalmpi/task/task_index.h"
#include "evalmpi/text/jinja.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "harness_sources.h"
#include "selection.h"

namespace {

using evalmpi::Json;
namespace task = evalmpi::task;
namespace text = evalmpi::text;

Json render(const Json& line) {
  return {
      {"text", text::Template::parse(line.at("template").get<std::string>(), "template").render(line.at("document"))}};
}

Json read_yaml(const Json& line) {
  return {{"value", task::read_yaml_text(line.at("text").get<std::string>(), "text")}};
}

Json find_all(const Json& line) {
  const std::string subject = line.at("text").get<std::string>();
  Json all = Json::array();
  for (const text::RegexMatch& match :
       text::Regex::compile(line.at("pattern").get<std::string>(), "pattern").find_all(subject)) {
    Json groups = Json::array();
    for (const text::ByteRange& range : match.groups) {
      groups.push_back(range.matched() ? Json(std::string(range.of(subject))) : Json());
    }
    all.push_back(std::move(groups));
  }
  return {{"groups", all}};
}

// The stand-in for a chat template on both sides of the comparison.
std::string made_up_chat(const Json& messages, bool add_generation_prompt) {
  std::string prompt;
  for (const Json& message : messages) {
    prompt += "<" + message["role"].get<std::string>() + ">" + message["content"].get<std::string>();
  }
  return prompt + (add_generation_prompt ? "<assistant>" : "");
}

task::TaskOptions options_of(const Json& line) {
  task::TaskOptions options;
  options.system_instruction = line.value("system", "");
  const std::string chat = line.value("chat", "");
  if (!chat.empty()) options.chat_template = made_up_chat;
  options.fewshot_as_multiturn = chat == "turns";
  return options;
}

Json arguments_of(const task::Task& made, const task::Instance& instance) {
  const bool generates = instance.kind == task::RequestKind::kGenerateUntil;
  return {*instance.context, generates ? made.generation_kwargs() : Json(instance.continuation)};
}

Json requests(const Json& line, const task::TaskIndex& index) {
  const task::Selection selection =
      index.select({line.at("task").get<std::string>()}, {line.at("shots").get<int>(), Json::object()});
  evalmpi::data::Split documents;
  documents.columns = line.at("columns").get<std::vector<std::string>>();
  documents.rows = line.at("documents").get<std::vector<Json>>();
  const task::Task made = task::Task::from_documents(selection.tasks.at(0), std::move(documents),
                                                     line.at("pool").get<std::vector<Json>>(), options_of(line));
  Json result = {{"requests", Json::array()}, {"targets", Json::array()}};
  for (const task::Instance& instance : made.build_all()) result["requests"].push_back(arguments_of(made, instance));
  for (int64_t row = 0; row < made.n_rows(); ++row) result["targets"].push_back(text::python::str(made.target(row)));
  return result;
}

// A task on the Parquet files of its splits, its prompts with each number of examples, and its scores of given answers.
Json scores(const Json& line, const task::TaskIndex& index) {
  Json result = {{"requests", Json::object()}, {"targets", Json::array()}, {"metrics", Json::array()}};
  for (const Json& shots : line.at("shots")) {
    task::TaskConfig config =
        index.select({line.at("task").get<std::string>()}, {shots.get<int>(), Json::object()}).tasks.at(0);
    config.dataset_path = "parquet";
    config.dataset_name.clear();
    config.dataset_kwargs = {{"data_files", line.at("files")}};
    const task::Task made = task::Task::load(config, {}, {});
    Json& asked = result["requests"][shots.dump()] = Json::array();
    for (const task::Instance& instance : made.build_all()) asked.push_back(arguments_of(made, instance));
    if (shots != 0) continue;
    std::map<std::string, Json> by_filter;
    task::ScoreTable table;
    for (int64_t row = 0; row < made.n_rows(); ++row) {
      result["targets"].push_back(made.target(row));
      const auto answers = line.at("responses").at(static_cast<size_t>(row)).get<std::vector<std::vector<Json>>>();
      const std::vector<task::FilterScores> scored = made.score(row, answers);
      table.add(scored);
      for (const task::FilterScores& one : scored) {
        Json metrics = Json::object();
        for (const auto& [name, value] : one.metrics) metrics[name] = value;
        if (!by_filter.contains(one.filter)) by_filter[one.filter] = Json::array();
        by_filter[one.filter].push_back({one.filter, metrics});
      }
    }
    for (const task::FilterConfig& filter : made.config().filters) {
      for (Json& metrics : by_filter[filter.name]) result["metrics"].push_back(std::move(metrics));
    }
    result["scores"] = Json::object();
    for (const task::MetricResult& metric : table.result(made.config(), 0).metrics) {
      result["scores"][metric.key()] = metric.value;
    }
  }
  return result;
}

Json marks(const Json& line, const task::TaskIndex& index) {
  // One for all lines: every module is read once.
  static task::HarnessSources sources;
  static task::YamlFiles files;
  Json all = Json::array();
  for (const task::UnconfiguredTask& one : choose(index, {line.at("task").get<std::string>()}, files).tasks) {
    for (const uint64_t mark : sources.marks_of(one.mapping)) all.push_back(mark);
  }
  return {{"marks", all}};
}

Json names(const task::TaskIndex& index) {
  Json all = Json::array();
  for (const auto& [name, entry] : index.entries()) {
    if (entry.kind != task::EntryKind::kTag) all.push_back(name);
  }
  return {{"names", all}};
}

Json answer(const std::string& command, const Json& line, const task::TaskIndex& index) {
  if (command == "render") return render(line);
  if (command == "yaml") return read_yaml(line);
  if (command == "findall") return find_all(line);
  if (command == "requests") return requests(line, index);
  if (command == "names") return names(index);
  if (command == "marks") return marks(line, index);
  if (command == "scores") return scores(line, index);
  evalmpi::fail(evalmpi::ExitCode::kUsage, "unknown command {}", command);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const task::TaskIndex index = task::TaskIndex::scan({argv + 2, argv + argc});
  for (std::string line; std::getline(std::cin, line);) {
    Json result;
    try {
      result = answer(argv[1], Json::parse(line), index);
    } catch (const std::exception& error) {
      result = {{"error", error.what()}};
    }
    std::cout << result.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  }
  return 0;
}

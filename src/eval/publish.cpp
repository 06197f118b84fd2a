#include "publish.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "budget.h"
#include "device_figures.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/hash.h"
#include "evalmpi/base/log.h"
#include "evalmpi/text/python.h"
#include "outputs.h"

namespace evalmpi::eval {
namespace {

constexpr const char* kVersion = "0.1.0";

FinishedTasks finished_tasks(const std::vector<TaskReport>& reports, const std::vector<const task::Task*>& tasks,
                             const std::vector<task::GroupConfig>& groups) {
  FinishedTasks finished{tasks, {}, {}, groups, {}};
  for (const TaskReport& report : reports) {
    finished.results.push_back(report.result);
    finished.hashes.push_back(report.task_hash);
  }
  for (const task::GroupConfig& group : groups) {
    if (!group.metrics.empty()) finished.group_results.push_back(task::aggregate_group(group, finished.results));
  }
  return finished;
}

Json token_pair(const text::Tokenizer& tokenizer, const std::optional<int32_t>& id) {
  if (!id) return Json::array({nullptr, "None"});
  return Json::array({tokenizer.token_text(*id), fmt::format("{}", *id)});
}

Json run_json(const Published& published, const RunFacts& facts) {
  const EvalOptions& options = *facts.options;
  const text::Tokenizer& tokenizer = *facts.setup->tokenizer;
  EvalOptions shown = options;
  const Json fewshot_seed =
      facts.setup->options.fewshot_seed ? Json(*facts.setup->options.fewshot_seed) : Json(nullptr);
  Json json = Json::object();
  json["config"] = {{"model", "evalmpi"},
                    {"model_args", {{"pretrained", options.model}, {"dtype", facts.dtype}}},
                    {"model_dtype", facts.dtype},
                    {"batch_size", options.batch_size.empty() ? Json(nullptr) : Json(options.batch_size)},
                    {"device", facts.device},
                    {"limit", options.limit ? Json(*options.limit) : Json(nullptr)},
                    {"bootstrap_iters", options.bootstrap_iterations},
                    {"gen_kwargs", facts.setup->options.generation_kwargs},
                    {"fewshot_seed", fewshot_seed}};
  Json& model_args = json["config"]["model_args"];
  if (!options.adapter.empty()) model_args["peft"] = options.adapter;
  if (!options.tokenizer.empty()) model_args["tokenizer"] = options.tokenizer;
  if (options.add_bos_token) model_args["add_bos_token"] = *options.add_bos_token;
  if (options.prefix_token_id) model_args["prefix_token_id"] = *options.prefix_token_id;
  json["evalmpi"] = {{"version", kVersion},
                     {"run_id", facts.run_id},
                     {"layout", facts.layout},
                     {"numerics_class", facts.numerics_class},
                     {"chunks_of_other_numerics_classes", published.records_of_other_classes.size()},
                     {"chunks_verified", facts.verified.compared},
                     {"tokens_naive", published.tokens.naive},
                     {"tokens_distinct", published.tokens.distinct},
                     {"tokens_computed", published.tokens.computed},
                     {"timings", facts.timings},
                     {"token_budget", facts.memory.token_budget},
                     {"token_budget_reason", facts.memory.why_this_budget},
                     {"memory_predicted_bytes", facts.memory.predicted_bytes},
                     {"memory_peak_bytes", facts.memory.peak_bytes},
                     {"device_memory_predicted_bytes", facts.memory.device_predicted_bytes},
                     {"device_memory_peak_bytes", facts.memory.device_peak_bytes},
                     {"devices", facts.devices},
                     {"identities", facts.identities},
                     {"options", to_json(fields(shown))}};
  json["git_hash"] = nullptr;
  json["date"] = static_cast<double>(std::time(nullptr));
  json["tokenizer_pad_token"] = token_pair(tokenizer, tokenizer.pad_id());
  json["tokenizer_eos_token"] = token_pair(tokenizer, tokenizer.eos_id());
  json["tokenizer_bos_token"] = token_pair(tokenizer, tokenizer.bos_id());
  json["eot_token_id"] = tokenizer.eos_id() ? Json(*tokenizer.eos_id()) : Json(nullptr);
  json["max_length"] = facts.setup->encoder->max_length();
  json["model_source"] = "evalmpi";
  json["model_name"] = options.model;
  json["model_name_sanitized"] = file_part(options.model);
  const auto text_and_sha = [&](const char* key, const char* sha_key, const std::string& text) {
    json[key] = text.empty() ? Json(nullptr) : Json(text);
    json[sha_key] = text.empty() ? Json(nullptr) : Json(sha256_hex(text));
  };
  text_and_sha("system_instruction", "system_instruction_sha", options.system_instruction);
  const std::optional<bool>& multiturn = facts.setup->options.chat.fewshot_as_multiturn;
  json["fewshot_as_multiturn"] = multiturn ? Json(*multiturn) : Json(nullptr);
  const auto& chat = facts.setup->chat_template;
  text_and_sha("chat_template", "chat_template_sha", chat ? chat->source() : "");
  json["total_evaluation_time_seconds"] = fmt::format("{}", facts.seconds);
  return json;
}

// Of the rank that has most.
int64_t most(const std::vector<int64_t>& bytes_of_rank) {
  return bytes_of_rank.empty() ? 0 : *std::max_element(bytes_of_rank.begin(), bytes_of_rank.end());
}

store::ResultsFile results_file(const Published& published, std::vector<TaskReport>& reports,
                                const std::vector<const task::Task*>& tasks, const RunFacts& facts) {
  store::ResultsFile file;
  EvalOptions shown = *facts.options;
  for (const Field& field : fields(shown)) file.run.emplace_back("option." + field.name, field.get());
  file.run.emplace_back("evalmpi_version", kVersion);
  file.run.emplace_back("run_id", facts.run_id);
  file.run.emplace_back("attempt", facts.attempt);
  file.run.emplace_back("layout", facts.layout);
  file.run.emplace_back("host", facts.host);
  file.run.emplace_back("numerics_class", facts.numerics_class);
  file.run.emplace_back("dtype", facts.dtype);
  for (const auto& [name, digest] : facts.identities.items()) file.run.emplace_back(name, digest);
  file.run.emplace_back("tokens_naive", published.tokens.naive);
  file.run.emplace_back("tokens_distinct", published.tokens.distinct);
  file.run.emplace_back("tokens_computed", published.tokens.computed);
  file.run.emplace_back("chunks_of_other_numerics_classes", published.records_of_other_classes.size());
  file.run.emplace_back("chunks_verified", facts.verified.compared);
  file.run.emplace_back("seconds", facts.seconds);
  file.run.emplace_back("start_to_first_chunk_seconds", facts.first_chunk_seconds);
  for (const auto& [name, seconds] : facts.timings.items()) file.run.emplace_back("timing." + name, seconds);
  file.run.emplace_back("weight_bytes_read_by_rank_0", facts.bytes_read);
  file.run.emplace_back("token_budget", facts.memory.token_budget);
  file.run.emplace_back("token_budget_reason", facts.memory.why_this_budget);
  file.run.emplace_back("memory_predicted_bytes", most(facts.memory.predicted_bytes));
  file.run.emplace_back("memory_peak_bytes", most(facts.memory.peak_bytes));
  file.run.emplace_back("device_memory_predicted_bytes", most(facts.memory.device_predicted_bytes));
  file.run.emplace_back("device_memory_peak_bytes", most(facts.memory.device_peak_bytes));
  file.run.emplace_back("devices", facts.devices.dump());
  file.run.emplace_back("time", published.time_id);
  for (size_t i = 0; i < reports.size(); ++i) {
    store::TaskResults& table = reports[i].table;
    const task::Task& task = *tasks[i];
    table.attributes = {{"alias", task.config().alias},
                        {"version", text::python::str(task.config().version)},
                        {"num_fewshot", task.num_fewshot()},
                        {"documents_in_split", task.n_rows()},
                        {"tokens_naive", published.part_tokens[i].naive},
                        {"tokens_distinct", published.part_tokens[i].distinct},
                        {"task_hash", reports[i].task_hash},
                        {"config", task.config().dump}};
    file.tasks.push_back(std::move(table));
  }
  return file;
}

void print_summary(const Published& published, const Json& results, const RunFacts& facts) {
  const EvalOptions& options = *facts.options;
  const Json heading = {{"option.model", options.model},
                        {"dtype", facts.dtype},
                        {"layout", facts.layout},
                        {"option.limit", options.limit ? Json(*options.limit) : Json()},
                        {"option.num-fewshot", options.num_fewshot ? Json(*options.num_fewshot) : Json()}};
  fmt::print("\n{}{}\n", results_heading(heading), results_table(results));
  const TokenCounts& tokens = published.tokens;
  fmt::print("tokens: {} computed / {} distinct / {} naive\n", tokens.computed, tokens.distinct, tokens.naive);
  if (facts.verified.chosen > 0) {
    fmt::print("verified: {} chunks computed twice, equal bit by bit{}\n", facts.verified.compared,
               facts.verified.not_comparable == 0
                   ? ""
                   : fmt::format("; {} fell to hosts of another numerics class and were not compared",
                                 facts.verified.not_comparable));
  }
  print_run_notes(published, facts);
  fmt::print("results: {}\n", published.directory.string());
  std::fflush(stdout);
}

}  // namespace

void print_run_notes(const Published& published, const RunFacts& facts) {
  if (!published.records_of_other_classes.empty()) {
    fmt::print(
        "mixed: {} chunks are of another numerics class (an earlier attempt, other devices, or smaller steps for "
        "lack of memory); --strict computes them again\n",
        published.records_of_other_classes.size());
  }
  if (facts.options->timings) {
    fmt::print("timings: {:.3f} s to the first chunk, {:.3f} s in all\n", facts.first_chunk_seconds, facts.seconds);
    for (const auto& [name, seconds] : facts.timings.items()) {
      fmt::print("timings: {} {:.3f}\n", name, seconds.get<double>());
    }
    for (const Json& device : facts.devices) {
      fmt::print("device of rank {} on {}: {}\n", device.at("rank").get<int>(), device.at("host").get<std::string>(),
                 in_words(device));
    }
    for (size_t rank = 0; rank < facts.memory.peak_bytes.size(); ++rank) {
      fmt::print("memory: rank {}: predicted {}, peak {}\n", rank, bytes_text(facts.memory.predicted_bytes[rank]),
                 bytes_text(facts.memory.peak_bytes[rank]));
    }
  }
}

std::string file_part(const std::string& name) {
  std::string part = name;
  for (char& c : part) {
    if (c == '/' || c == '\\' || c == ':' || c == '\0') c = '_';
  }
  return part;
}

std::string local_time_id() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count() % 1'000'000;
  std::tm local{};
  ::localtime_r(&seconds, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H-%M-%S", &local);
  return fmt::format("{}.{:06}", text, micros);
}

void write_samples(Published& published, const TaskReport& report) {
  const std::string name = fmt::format("samples_{}_{}.jsonl", file_part(report.result.name), published.time_id);
  write_file_atomically(published.directory / name, report.samples);
  published.files.push_back(name);
}

void publish_run(Published& published, std::vector<TaskReport>& reports, const std::vector<const task::Task*>& tasks,
                 const std::vector<task::GroupConfig>& groups, const RunFacts& facts) {
  const FinishedTasks finished = finished_tasks(reports, tasks, groups);
  std::vector<const store::TaskResults*> tables;
  for (const TaskReport& report : reports) tables.push_back(&report.table);
  const Json timings = generation_timings(tables);
  const Json results = results_json(finished);
  store::ResultsFile file = results_file(published, reports, tasks, facts);
  file.run.emplace_back("results", results);
  store::write_results(published.directory / "results.h5", file);
  published.files.push_back("results.h5");
  Json json = results;
  json.update(run_json(published, facts));
  if (!timings.empty()) json["generation_timings"] = timings;
  const std::string name = "results_" + published.time_id + ".json";
  write_file_atomically(published.directory / name, text::python::json_dumps(json, {2, false, false}) + "\n");
  published.files.push_back(name);
  if (facts.is_rebuilt) return;
  if (facts.options->show_config) fmt::print("{}\n", text::python::json_dumps(json, {2, false, false}));
  print_summary(published, results, facts);
}

}  // namespace evalmpi::eval

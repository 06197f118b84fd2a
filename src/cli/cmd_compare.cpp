// evalmpi compare

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "commands.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/json.h"
#include "evalmpi/base/log.h"
#include "evalmpi/eval/compare_runs.h"
#include "evalmpi/model/compare_models.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/text/tokenizer.h"
#include "option_parser.h"

namespace evalmpi::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHelp =
    R"(usage: evalmpi compare A B [options]

Two model folders (or hub ids): the weights tensor by tensor, then what both models compute from the same tokens: hidden
states after each layer, logits, the KL divergence of the next-token distributions and the positions whose most likely
token differs. The same folder twice with --tp and --vs-tp compares two layouts of one model (places are threads of
this process; no launcher).

Two result folders of `evalmpi eval` or lm-evaluation-harness (with samples): for each task and metric the difference of the scores
with its paired standard error, McNemar's exact test where documents are right or wrong, and the documents that flipped.
Scores are means of the documents' values; for perplexity these are log-likelihoods.

Exit code 0: equal within --atol and --rtol; 1: they differ (not an error); others: as of all commands.

examples:
  evalmpi compare models/llama-f32 models/llama-bf16 --atol 1e-2
  evalmpi compare models/llama models/llama --tp 1 --vs-tp 3 --atol 1e-4
  evalmpi compare runs/before runs/after --show 20
)";

constexpr uint64_t kMaxPromptBytes = uint64_t{64} << 20;
constexpr int kBuiltInSequences = 4;
constexpr int64_t kBuiltInLength = 64;

struct CompareOptions {
  std::optional<double> absolute, relative;
  std::string prompts;
  int tp = 1;
  std::optional<int> vs_tp;
  bool weights = true;
  bool outputs = true;
  int show = 10;
  bool json = false;

  model::Tolerance tolerance() const { return {absolute.value_or(0), relative.value_or(0)}; }
};

std::vector<Field> fields_of(CompareOptions& options) {
  return {
      number_field("atol", "X", options.absolute, "Values a and b are equal when |a - b| <= X + rtol * |b|. Default 0.",
                   Affects::kNumbers),
      number_field("rtol", "X", options.relative, "See --atol. Default 0.", Affects::kNumbers),
      path_field(
          "prompts", "FILE", options.prompts,
          "Prompts for the models: a .txt file with one prompt a line, or .jsonl with texts, objects with \"prompt\" "
          "or "
          "\"text\", or lists of token ids. Texts are encoded by A's tokenizer. Default: 4 built-in sequences of 64 "
          "tokens.",
          Affects::kNumbers),
      switch_field("weights", options.weights, "Compare the weights of two models. Default on.", Affects::kNumbers),
      switch_field("outputs", options.outputs, "Compare what two models compute. Default on.", Affects::kNumbers),
      integer_field("tp", "N", options.tp, 1, "Places that compute A. Default 1.", Affects::kLayout),
      integer_field("vs-tp", "N", options.vs_tp, 1, "Places that compute B. Default: as --tp.", Affects::kLayout),
      integer_field("show", "N", options.show, 0,
                    "Tensors, positions and flipped documents that are listed. Default 10.", Affects::kOutput),
      switch_field("json", options.json, "Print one JSON object instead of tables.", Affects::kOutput)};
}

// Cells as aligned columns, the first one left, the others right.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += i == 0 ? fmt::format("{:<{}}", row[i], widths[i]) : fmt::format("  {:>{}}", row[i], widths[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string number(double value) { return fmt::format("{:.3e}", value); }

// JSON has no infinity; a text says it.
Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(fmt::format("{}", value)); }

Json to_json(const model::Difference& difference) {
  return {{"values", difference.count},
          {"beyond_tolerance", difference.outside},
          {"max_absolute", json_number(difference.max_absolute)},
          {"mean_absolute", json_number(difference.mean_absolute())},
          {"max_relative", json_number(difference.max_relative)},
          {"mean_relative", json_number(difference.mean_relative())}};
}

std::vector<std::string> cells_of(const std::string& name, const model::Difference& difference) {
  return {name,
          number(difference.max_absolute),
          number(difference.mean_absolute()),
          number(difference.max_relative),
          number(difference.mean_relative()),
          fmt::format("{}/{}", difference.outside, difference.count)};
}

const std::vector<std::string> kDifferenceHeader = {"", "max |a-b|", "mean |a-b|", "max rel", "mean rel", "beyond"};

// A comparison for people and for programs, made side by side.
struct Report {
  std::string text;
  Json json = Json::object();
  bool differs = false;
};

std::string shape_text(const std::string& dtype, const std::vector<int64_t>& shape) {
  return dtype.empty() ? "-" : fmt::format("{}{}", dtype, Json(shape).dump());
}

void report_weights(const std::vector<model::TensorComparison>& all, const CompareOptions& options, Report& report) {
  using Where = model::TensorComparison::Where;
  std::vector<const model::TensorComparison*> values, unlike;
  Json tensors = Json::array();
  size_t equal = 0, other_dtype = 0;
  for (const model::TensorComparison& tensor : all) {
    Json entry = {{"name", tensor.name},
                  {"in", tensor.where == Where::kBoth      ? "both"
                         : tensor.where == Where::kOnlyInA ? "a"
                                                           : "b"},
                  {"dtype_a", tensor.dtype_a},
                  {"dtype_b", tensor.dtype_b},
                  {"shape_a", tensor.shape_a},
                  {"shape_b", tensor.shape_b},
                  {"differs", tensor.differs()}};
    if (tensor.has_values()) entry["difference"] = to_json(tensor.difference);
    tensors.push_back(std::move(entry));
    other_dtype += tensor.where == Where::kBoth && tensor.dtype_a != tensor.dtype_b ? 1 : 0;
    equal += tensor.differs() ? 0 : 1;
    if (!tensor.has_values()) {
      unlike.push_back(&tensor);
    } else if (tensor.differs()) {
      values.push_back(&tensor);
    }
  }
  report.json["weights"] = std::move(tensors);
  report.differs = report.differs || equal != all.size();
  report.text +=
      fmt::format("weights: {} tensors, {} equal, {} of other values, {} without a counterpart; {} of another dtype\n",
                  all.size(), equal, values.size(), unlike.size(), other_dtype);
  std::vector<std::vector<std::string>> rows;
  const auto shown = [&](const auto& list) { return std::min(list.size(), static_cast<size_t>(options.show)); };
  for (size_t i = 0; i < shown(unlike); ++i) {
    rows.push_back({unlike[i]->name, "A " + shape_text(unlike[i]->dtype_a, unlike[i]->shape_a),
                    "B " + shape_text(unlike[i]->dtype_b, unlike[i]->shape_b)});
  }
  report.text += table(rows);
  std::stable_sort(values.begin(), values.end(), [](const auto* x, const auto* y) {
    return x->difference.max_absolute > y->difference.max_absolute;
  });
  rows = {kDifferenceHeader};
  for (size_t i = 0; i < shown(values); ++i) rows.push_back(cells_of(values[i]->name, values[i]->difference));
  if (rows.size() > 1) report.text += table(rows);
}

void report_outputs(const model::OutputComparison& outputs, const CompareOptions& options, Report& report) {
  Json json = {{"positions", outputs.positions}, {"hidden", Json::array()}};
  std::vector<std::vector<std::string>> rows = {kDifferenceHeader};
  for (size_t layer = 0; layer < outputs.hidden.size(); ++layer) {
    rows.push_back(cells_of(layer == 0 ? "embedding" : fmt::format("layer {}", layer - 1), outputs.hidden[layer]));
    json["hidden"].push_back(to_json(outputs.hidden[layer]));
  }
  if (outputs.has_logits) rows.push_back(cells_of("logits", outputs.logits));
  report.text += "\noutputs:\n" + table(rows);
  if (!outputs.has_hidden) report.text += "hidden states are not compared: the models' layers or widths differ\n";
  if (!outputs.has_logits) report.text += "logits are not compared: the models' vocabularies differ\n";
  if (outputs.has_logits) {
    json["logits"] = to_json(outputs.logits);
    json["mean_kl"] = outputs.mean_kl;
    json["max_kl"] = outputs.max_kl;
    json["argmax_flips"] = outputs.flips.size();
    json["flips"] = Json::array();
    report.text +=
        fmt::format("KL(A || B): mean {}, max {} nats; argmax differs at {} of {} positions\n", number(outputs.mean_kl),
                    number(outputs.max_kl), outputs.flips.size(), outputs.positions);
  }
  for (size_t i = 0; i < std::min(outputs.flips.size(), static_cast<size_t>(options.show)); ++i) {
    const model::ArgmaxFlip& flip = outputs.flips[i];
    json["flips"].push_back({{"sequence", flip.sequence},
                             {"position", flip.position},
                             {"token_a", flip.token_a},
                             {"token_b", flip.token_b},
                             {"margin_a", flip.margin_a},
                             {"margin_b", flip.margin_b}});
    report.text += fmt::format("  sequence {}, position {}: A {} (by {}), B {} (by {})\n", flip.sequence, flip.position,
                               flip.token_a, number(flip.margin_a), flip.token_b, number(flip.margin_b));
  }
  report.json["outputs"] = std::move(json);
  report.differs = report.differs || outputs.differs();
}

std::string joined(const std::vector<int64_t>& ids, int most) {
  std::string text;
  for (size_t i = 0; i < std::min(ids.size(), static_cast<size_t>(most)); ++i) text += fmt::format(" {}", ids[i]);
  return ids.size() > static_cast<size_t>(most) ? text + " ..." : text;
}

void report_unpaired(const eval::TaskComparison& task, const CompareOptions& options, Report& report) {
  const std::string name = task.task + ", " + task.filter;
  const auto list = [&](const char* what, const std::vector<int64_t>& ids) {
    if (!ids.empty())
      report.text += fmt::format("{}: {} documents {}:{}\n", name, ids.size(), what, joined(ids, options.show));
  };
  list("only in A", task.only_in_a);
  list("only in B", task.only_in_b);
  list("are others under the same id and not compared", task.other_documents);
  if (task.other_prompts > 0)
    report.text += fmt::format("{}: {} of {} prompts differ\n", name, task.other_prompts, task.documents);
  if (task.other_answers > 0) {
    report.text += fmt::format("{}: {} of {} answers differ; largest difference of a log-likelihood {}\n", name,
                               task.other_answers, task.documents, number(task.max_loglikelihood_difference));
  }
}

Json to_json(const eval::MetricComparison& metric, int show) {
  Json flipped = Json::array();
  for (size_t i = 0; i < std::min(metric.flipped.size(), static_cast<size_t>(show)); ++i) {
    flipped.push_back({{"doc_id", metric.flipped[i].doc_id}, {"a", metric.flipped[i].a}, {"b", metric.flipped[i].b}});
  }
  Json json = {
      {"metric", metric.metric},
      {"documents", metric.documents},
      {"a", metric.mean_a},
      {"b", metric.mean_b},
      {"difference", metric.difference()},
      {"paired_standard_error", metric.paired_standard_error ? Json(*metric.paired_standard_error) : Json(nullptr)},
      {"differing_documents", metric.flipped.size()},
      {"flipped", flipped}};
  if (metric.is_binary) {
    json["only_a"] = metric.only_a;
    json["only_b"] = metric.only_b;
    json["mcnemar_p"] = metric.mcnemar_p;
  }
  return json;
}

Report report_runs(const eval::RunComparison& runs, const CompareOptions& options) {
  Report report;
  report.differs = runs.differs();
  report.json = {{"kind", "runs"},
                 {"tasks_only_in_a", runs.tasks_only_in_a},
                 {"tasks_only_in_b", runs.tasks_only_in_b},
                 {"tasks", Json::array()}};
  std::vector<std::vector<std::string>> rows = {
      {"task, filter", "metric", "n", "A", "B", "A-B", "paired stderr", "A>B", "B>A", "McNemar p"}};
  std::string flipped;
  for (const eval::TaskComparison& task : runs.tasks) {
    Json metrics = Json::array();
    for (const eval::MetricComparison& metric : task.metrics) {
      metrics.push_back(to_json(metric, options.show));
      rows.push_back({task.task + ", " + task.filter, metric.metric, fmt::format("{}", metric.documents),
                      fmt::format("{:.4f}", metric.mean_a), fmt::format("{:.4f}", metric.mean_b),
                      fmt::format("{:+.4f}", metric.difference()),
                      metric.paired_standard_error ? fmt::format("{:.4f}", *metric.paired_standard_error) : "N/A",
                      fmt::format("{}", metric.only_a), fmt::format("{}", metric.only_b),
                      metric.is_binary ? fmt::format("{:.4g}", metric.mcnemar_p) : "N/A"});
      for (size_t i = 0; i < std::min(metric.flipped.size(), static_cast<size_t>(options.show)); ++i) {
        flipped += fmt::format("  {}, {}, {}: document {}: A {} B {}\n", task.task, task.filter, metric.metric,
                               metric.flipped[i].doc_id, metric.flipped[i].a, metric.flipped[i].b);
      }
    }
    report.json["tasks"].push_back({{"task", task.task},
                                    {"filter", task.filter},
                                    {"documents", task.documents},
                                    {"only_in_a", task.only_in_a},
                                    {"only_in_b", task.only_in_b},
                                    {"other_documents", task.other_documents},
                                    {"other_prompts", task.other_prompts},
                                    {"other_answers", task.other_answers},
                                    {"max_loglikelihood_difference", json_number(task.max_loglikelihood_difference)},
                                    {"metrics", metrics}});
  }
  report.text = table(rows);
  for (const std::string& task : runs.tasks_only_in_a) report.text += fmt::format("{}: only in A\n", task);
  for (const std::string& task : runs.tasks_only_in_b) report.text += fmt::format("{}: only in B\n", task);
  for (const eval::TaskComparison& task : runs.tasks) report_unpaired(task, options, report);
  if (!flipped.empty()) report.text += "documents that differ:\n" + flipped;
  return report;
}

// A line of a prompt file: a text, or token ids.
struct Prompt {
  std::string text;
  model::TokenSequence ids;
};

Prompt prompt_of(const Json& line, const std::string& where) {
  if (line.is_string()) return {line.get<std::string>(), {}};
  for (const char* key : {"prompt", "text"}) {
    if (line.is_object() && line.contains(key) && line.at(key).is_string())
      return {line.at(key).get<std::string>(), {}};
  }
  const Json& list = line.is_object() && line.contains("ids") ? line.at("ids") : line;
  Prompt prompt;
  if (!list.is_array() || list.empty()) {
    fail(ExitCode::kBadInput,
         "{}: expected a text, an object with \"prompt\", \"text\" or \"ids\", or a list of token ids", where);
  }
  for (const Json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > 0x7fffffff)
      fail(ExitCode::kBadInput, "{}: no token id: {}", where, id.dump());
    prompt.ids.push_back(id.get<int32_t>());
  }
  return prompt;
}

std::vector<Prompt> read_prompts(const fs::path& path) {
  const bool is_json = path.extension() == ".jsonl" || path.extension() == ".json";
  const std::string bytes = read_file(path, kMaxPromptBytes);
  std::vector<Prompt> prompts;
  std::string_view rest = bytes;
  for (int64_t number = 1; !rest.empty(); ++number) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::string where = fmt::format("{}:{}", path.string(), number);
    prompts.push_back(is_json ? prompt_of(parse_json(line, where), where) : Prompt{std::string(line), {}});
  }
  if (prompts.empty()) fail(ExitCode::kBadInput, "{}: no prompts", path.string());
  return prompts;
}

// The same ids for both models.
std::vector<model::TokenSequence> sequences_of(const fs::path& a, const fs::path& b, const std::string& prompt_file) {
  if (prompt_file.empty()) {
    const model::ModelSpec spec_a = model::read_model_spec(a), spec_b = model::read_model_spec(b);
    const int64_t length = std::min({kBuiltInLength, spec_a.max_positions, spec_b.max_positions});
    return model::built_in_sequences(std::min(spec_a.vocab, spec_b.vocab), kBuiltInSequences, static_cast<int>(length));
  }
  std::optional<text::Tokenizer> tokenizer;
  std::vector<model::TokenSequence> sequences;
  for (const Prompt& prompt : read_prompts(prompt_file)) {
    if (!prompt.ids.empty()) {
      sequences.push_back(prompt.ids);
      continue;
    }
    if (!tokenizer) {
      tokenizer = text::Tokenizer::load(a);
      if (fs::exists(b / "tokenizer.json") && text::Tokenizer::load(b).digest() != tokenizer->digest()) {
        log::warning("{}: its tokenizer is not that of {}; both models get the ids of the latter", b.string(),
                     a.string());
      }
    }
    sequences.push_back(tokenizer->encode(prompt.text, true));
  }
  return sequences;
}

Report compare_two_models(const fs::path& a, const fs::path& b, const CompareOptions& options) {
  Report report;
  report.json["kind"] = "models";
  if (options.weights && !fs::equivalent(a, b)) {
    report_weights(model::compare_weights(a, b, options.tolerance()), options, report);
  }
  if (options.outputs) {
    const model::OutputComparison outputs =
        model::compare_outputs({a, options.tp}, {b, options.vs_tp.value_or(options.tp)},
                               sequences_of(a, b, options.prompts), options.tolerance());
    report_outputs(outputs, options, report);
  }
  return report;
}

bool is_run(const std::string& name) { return fs::is_directory(name) && !eval::find_samples(name).empty(); }
bool is_model(const std::string& name) { return !fs::is_directory(name) || fs::exists(fs::path(name) / "config.json"); }

Report compare(const std::string& a, const std::string& b, const CompareOptions& options) {
  if (is_model(a) && is_model(b)) {
    return compare_two_models(model::resolve_model_folder(a), model::resolve_model_folder(b), options);
  }
  if (!is_model(a) && !is_model(b)) return report_runs(eval::compare_runs(a, b, options.tolerance()), options);
  for (const std::string& name : {a, b}) {
    if (!is_model(name) && !is_run(name)) {
      fail(ExitCode::kMissingInput, "{}: neither a model (no config.json) nor a run with samples (no samples_*.jsonl)",
           name);
    }
  }
  fail(ExitCode::kUsage, "{} is a {}, {} a {}: compare two of a kind", a, is_model(a) ? "model" : "run", b,
       is_model(b) ? "model" : "run");
}

}  // namespace

ExitCode compare_command(const Invocation& invocation) {
  CompareOptions options;
  std::vector<Field> fields = fields_of(options);
  const auto folders = read_folders("compare", invocation.arguments, kHelp, {"A", "B"}, fields);
  if (!folders) return ExitCode::kComplete;
  Report report = compare((*folders)[0], (*folders)[1], options);
  report.json["differs"] = report.differs;
  if (options.json) {
    fmt::print("{}\n", report.json.dump(2));
  } else {
    fmt::print("{}{}\n", report.text, report.differs ? "they differ" : "equal within the tolerance");
  }
  return report.differs ? ExitCode{1} : ExitCode::kComplete;
}

}  // namespace evalmpi::cli

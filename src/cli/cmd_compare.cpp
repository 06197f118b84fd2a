// evalmpi compare

#include <fmt/format.h>

#include "commands.h"
#include "compare_prompts.h"
#include "compare_report.h"
#include "evalmpi/base/json.h"
#include "evalmpi/eval/compare_runs.h"
#include "evalmpi/model/compare_models.h"
#include "evalmpi/model/spec.h"
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
          "or \"text\", or lists of token ids. Texts are encoded by A's tokenizer. Default: 4 built-in sequences of "
          "64 tokens.",
          Affects::kNumbers),
      switch_field("weights", options.weights, "Compare the weights of two models. Default on.", Affects::kNumbers),
      switch_field("outputs", options.outputs, "Compare what two models compute. Default on.", Affects::kNumbers),
      integer_field("tp", "N", options.tp, 1, "Places that compute A. Default 1.", Affects::kLayout),
      integer_field("vs-tp", "N", options.vs_tp, 1, "Places that compute B. Default: as --tp.", Affects::kLayout),
      integer_field("show", "N", options.show, 0,
                    "Tensors, positions and flipped documents that are listed. Default 10.", Affects::kOutput),
      switch_field("json", options.json, "Print one JSON object instead of tables.", Affects::kOutput)};
}

ComparisonReport compare_two_models(const fs::path& a, const fs::path& b, const CompareOptions& options) {
  ComparisonReport report;
  report.json["kind"] = "models";
  if (options.weights && !fs::equivalent(a, b)) {
    report_weights(model::compare_weights(a, b, options.tolerance()), options.show, report);
  }
  if (options.outputs) {
    const model::OutputComparison outputs =
        model::compare_outputs({a, options.tp}, {b, options.vs_tp.value_or(options.tp)},
                               sequences_of(a, b, options.prompts), options.tolerance());
    report_outputs(outputs, options.show, report);
  }
  return report;
}

bool is_run(const std::string& name) { return fs::is_directory(name) && !eval::find_samples(name).empty(); }
bool is_model(const std::string& name) { return !fs::is_directory(name) || fs::exists(fs::path(name) / "config.json"); }

ComparisonReport compare(const std::string& a, const std::string& b, const CompareOptions& options) {
  if (is_model(a) && is_model(b)) {
    return compare_two_models(model::resolve_model_folder(a), model::resolve_model_folder(b), options);
  }
  if (!is_model(a) && !is_model(b)) return report_runs(eval::compare_runs(a, b, options.tolerance()), options.show);
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
  ComparisonReport report = compare((*folders)[0], (*folders)[1], options);
  report.json["differs"] = report.differs;
  if (options.json) {
    fmt::print("{}\n", report.json.dump(2));
  } else {
    fmt::print("{}{}\n", report.text, report.differs ? "they differ" : "equal within the tolerance");
  }
  return report.differs ? ExitCode{1} : ExitCode::kComplete;
}

}  // namespace evalmpi::cli

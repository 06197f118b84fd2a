#include "evalmpi/eval/file_options.h"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "evalmpi/base/error.h"

namespace evalmpi::eval {
namespace {

constexpr const char* kShared[] = {"model",
                                   "adapter",
                                   "limit",
                                   "device",
                                   "dtype",
                                   "fast-kernels",
                                   "fast-reduce",
                                   "max-length",
                                   "gen-kwargs",
                                   "apply-chat-template",
                                   "chat-template-args",
                                   "system-instruction",
                                   "add-bos-token",
                                   "prefix-token-id",
                                   "tokenizer",
                                   "tp",
                                   "dp",
                                   "pp",
                                   "devices-per-rank",
                                   "share-devices",
                                   "host-staged",
                                   "cuda-graphs",
                                   "allow-split",
                                   "threads-per-lane",
                                   "token-budget",
                                   "max-hours",
                                   "output",
                                   "quiet",
                                   "strict",
                                   "timings",
                                   "verify",
                                   "hang-timeout"};

bool is_shared(const std::string& name) {
  return std::find(std::begin(kShared), std::end(kShared), name) != std::end(kShared);
}

// A folder, or by its name a file, as other programs take it.
bool names_a_file(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  std::error_code ignored;
  return (extension == ".jsonl" || extension == ".json" || extension == ".ndjson") &&
         !std::filesystem::is_directory(path, ignored);
}

// Shared options in the words of a file.
void say_for_files(Field& field, FileOptions& o) {
  if (field.name == "max-length") field.help = "Positions to use. Default: all that the model has.";
  if (field.name == "limit") field.help = "Take only the first N lines, or with N below 1 that fraction.";
  if (field.name == "apply-chat-template") {
    field.help =
        "Make plain prompts the user's message of a conversation, in the model's chat template: the default one, or "
        "the one of that name. Lines with messages are put through it in any case.";
  }
  if (field.name == "system-instruction") field.help = "The system's message of conversations that have none.";
  if (field.name == "gen-kwargs")
    field.help = "Further settings of lines that do not say otherwise, such as repetition_penalty=1.1.";
  if (field.name == "output") {
    field.help =
        "Where results and progress go; a second start with the same folder computes only what is missing. A name "
        "ending in .jsonl is taken as --output-file. Default: <output-file>.run, else a new folder "
        "runs/<command>-<time>.";
    field.set = [set = field.set, &o](const std::string& text) {
      if (!names_a_file(text)) return set(text);
      o.output_file = text;
    };
  }
}

void add_generation_fields(std::vector<Field>& all, FileOptions& o) {
  using enum Affects;
  all.push_back(integer_field(
      "max-tokens", "N", o.max_tokens, 1,
      "New tokens at most, where a line does not say. Default: 256; in the OpenAI format 16 for completions, "
      "and for chats what the model's positions leave, at most 4096.",
      kNumbers));
  all.push_back(
      number_field("temperature", "T", o.temperature,
                   "0: the most probable tokens. Above: tokens are drawn. Default: 0; in the OpenAI format what "
                   "generation_config.json says, else 1.",
                   kNumbers));
  all.push_back(number_field(
      "top-p", "P", o.top_p,
      "Draw from the most probable tokens that have P together. Default: generation_config.json's, else 1.", kNumbers));
  all.push_back(integer_field("top-k", "K", o.top_k, 0,
                              "Draw from the K most probable tokens. Default: generation_config.json's, else 0: all.",
                              kNumbers));
  all.push_back(number_field(
      "min-p", "P", o.min_p,
      "Draw from tokens that have at least P times the probability of the most probable one. Default 0.", kNumbers));
  Field stop = list_field("stop", "TEXT", o.stop,
                          "A text that ends an answer and is cut off it. May be given several times.", kNumbers);
  stop.set = [&o](const std::string& text) { o.stop.push_back(text); };
  all.push_back(std::move(stop));
  all.push_back(
      integer_field("n", "N", o.n, 1, "Answers to each prompt. Default 1; more need a temperature above 0.", kNumbers));
  all.push_back(integer_field(
      "seed", "N", o.seed, 0,
      "Of the draws, where a line has none. The same seed gives the same texts on any layout. Default 0.", kNumbers));
}

}  // namespace

const char* name_of(FileJob job) { return job == FileJob::kGenerate ? "generate" : "logprobs"; }

std::vector<Field> fields(FileOptions& o) {
  using enum Affects;
  std::vector<Field> all;
  Field input = path_field(
      "input", "FILE", o.input,
      "Lines to work on: .jsonl (also .gz, .zst), .txt with a prompt a line, or - for standard input.", kNumbers);
  input.letter = 'i';
  for (Field& field : fields(o.each)) {
    if (!is_shared(field.name) || (field.name == "gen-kwargs" && o.job != FileJob::kGenerate)) continue;
    say_for_files(field, o);
    all.push_back(std::move(field));
    if (all.size() == 1) all.push_back(std::move(input));
  }
  if (o.job == FileJob::kGenerate) add_generation_fields(all, o);
  all.push_back(text_field(
      "too-long", "WHAT", o.too_long,
      "A prompt that does not fit the model's positions: skip (the line's result says so), truncate (cut on the "
      "left, as lm_eval does), or error (exit 65 before anything is computed). Default skip.",
      kNumbers));
  all.push_back(
      path_field("output-file", "FILE", o.output_file, "A copy of outputs.jsonl, when all lines are done.", kOutput));
  all.push_back(switch_field("tokens", o.tokens,
                             o.job == FileJob::kGenerate ? "Add the token ids of answers (not in the OpenAI format)."
                                                         : "Add each token with its id and log-probability.",
                             kOutput));
  all.push_back(switch_field("dry-run", o.dry_run,
                             "Check the file and show requests, tokens, chunks and memory; run no model.", kOutput));
  return all;
}

TooLong resolve(const FileOptions& options) {
  if (options.input.empty())
    fail(ExitCode::kUsage, "--input is missing: a .jsonl or .txt file, or - for standard input");
  if (options.each.limit && !(*options.each.limit > 0)) {
    fail(ExitCode::kUsage, "--limit {}: expected a number of lines, or a fraction above 0", *options.each.limit);
  }
  if (options.too_long == "skip") return TooLong::kSkip;
  if (options.too_long == "truncate") return TooLong::kTruncate;
  if (options.too_long == "error") return TooLong::kError;
  fail(ExitCode::kUsage, "--too-long {}: expected skip, truncate or error", options.too_long);
}

}  // namespace evalmpi::eval

// What a finished FileWork leaves: outputs.jsonl, its copy, summary.json, and what is printed.

#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "evalmpi/base/file.h"
#include "evalmpi/base/log.h"
#include "evalmpi/text/python.h"
#include "file_work.h"

namespace evalmpi::eval {
namespace {

constexpr const char* kOutputs = "outputs.jsonl";
constexpr const char* kSummary = "summary.json";

}  // namespace

Json FileWork::summary(const Published& published, const RunFacts& facts) const {
  const Totals& t = totals_;
  Json json = {
      {"command", name_of(options_.job)}, {"lines", outputs_.size()}, {"answered", t.answered}, {"errors", t.refused}};
  if (options_.job == FileJob::kGenerate) {
    json.update({{"prompt_tokens", t.prompt_tokens},
                 {"completion_tokens", t.new_tokens},
                 {"finish_reasons", {{"stop", t.ended}, {"length", t.cut_short}}}});
  } else {
    json.update({{"continuations", t.continuations},
                 {"continuation_tokens", t.continuation_tokens},
                 {"texts", t.texts},
                 {"text_tokens", t.text_tokens},
                 {"text_bytes", t.text_bytes}});
    if (t.text_tokens > 0) json["perplexity"] = std::exp(-t.text_logprob / static_cast<double>(t.text_tokens));
    if (t.text_bytes > 0) json["bits_per_byte"] = -t.byte_logprob / static_cast<double>(t.text_bytes) / std::log(2.0);
  }
  json.update({{"tokens_naive", published.tokens.naive},
               {"tokens_distinct", published.tokens.distinct},
               {"tokens_computed", published.tokens.computed},
               {"run_id", facts.run_id},
               {"layout", facts.layout},
               {"numerics_class", facts.numerics_class},
               {"dtype", facts.dtype},
               {"device", facts.device},
               {"chunks_of_other_numerics_classes", published.records_of_other_classes.size()},
               {"identities", facts.identities},
               {"timings", facts.timings},
               {"seconds", facts.seconds},
               {"options", options()}});
  return json;
}

void FileWork::print_summary(const Published& published, const RunFacts& facts) const {
  const Totals& t = totals_;
  fmt::print("\nevalmpi {} {} (dtype {}, {})\n\n", name_of(options_.job), options_.each.model, facts.dtype,
             facts.layout);
  fmt::print("lines: {} answered, {} with an error\n", t.answered, t.refused);
  if (options_.job == FileJob::kGenerate) {
    fmt::print("answers: {} ended, {} cut at max_tokens; {} prompt tokens, {} new tokens\n", t.ended, t.cut_short,
               t.prompt_tokens, t.new_tokens);
  }
  if (t.continuations > 0) fmt::print("continuations: {}, {} tokens\n", t.continuations, t.continuation_tokens);
  if (t.texts > 0) {
    fmt::print("texts: {}, {} tokens, {} bytes", t.texts, t.text_tokens, t.text_bytes);
    if (t.text_tokens > 0)
      fmt::print("; perplexity by token {:.4f}", std::exp(-t.text_logprob / static_cast<double>(t.text_tokens)));
    if (t.text_bytes > 0)
      fmt::print(", bits per byte {:.4f}", -t.byte_logprob / static_cast<double>(t.text_bytes) / std::log(2.0));
    fmt::print("\n");
  }
  const TokenCounts& tokens = published.tokens;
  fmt::print("tokens: {} computed / {} distinct / {} naive", tokens.computed, tokens.distinct, tokens.naive);
  const double seconds = facts.timings.value("scoring_seconds", 0.0);
  if (facts.attempt == 0 && seconds > 0) {
    fmt::print("; {:.0f} tokens/s", static_cast<double>(tokens.naive + t.new_tokens) / seconds);
    if (t.new_tokens > 0) fmt::print(", {:.0f} new tokens/s", static_cast<double>(t.new_tokens) / seconds);
  }
  fmt::print("\n");
  print_run_notes(published, facts);
  fmt::print("results: {}\n", (published.directory / kOutputs).string());
  if (!options_.output_file.empty()) fmt::print("         {}\n", options_.output_file);
  std::fflush(stdout);
}

void FileWork::publish(Published& published, const RunFacts& facts) {
  std::string lines;
  for (std::string& line : outputs_) {
    lines += line;
    line = {};
  }
  write_file_atomically(published.directory / kOutputs, lines);
  published.files.push_back(kOutputs);
  if (!options_.output_file.empty()) write_file_atomically(options_.output_file, lines);
  write_file_atomically(published.directory / kSummary,
                        text::python::json_dumps(summary(published, facts), {2, false, false}) + "\n");
  published.files.push_back(kSummary);
  if (totals_.refused > 0 && !options_.each.quiet) {
    log::warning("{} of {} lines have an error in place of an answer", totals_.refused, outputs_.size());
  }
  print_summary(published, facts);
}

}  // namespace evalmpi::eval

#pragma once

// How one line of a file wants its answer, in the words of vLLM's SamplingParams, of the OpenAI API and of
// transformers.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/text/tokenizer.h"
#include "generation.h"

namespace evalmpi::eval {

// What is absent is said by the command's options, else by the form of the line.
struct LineSettings {
  std::optional<int32_t> max_tokens;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int32_t> top_k, no_repeat_ngram_size, n;
  std::optional<int64_t> seed;
  std::optional<bool> do_sample, ignore_eos;
  std::optional<std::vector<std::string>> stop;
  std::optional<std::vector<int32_t>> stop_token_ids;
};

// What one key of a line is to its settings.
enum class SettingKind {
  kSetting,      // taken over
  kUnsupported,  // known, and leaves the answer as it is only with a neutral value
  kNoEffect,     // known, and never changes an answer
  kUnknown,
};
SettingKind setting_kind(const std::string& key);

// Takes a key over into the settings: max_tokens (max_new_tokens, max_gen_toks, max_completion_tokens), temperature,
// top_p, top_k (-1 is 0), min_p, repetition_penalty, no_repeat_ngram_size, do_sample, stop (until), stop_token_ids,
// ignore_eos, n, seed. null leaves it absent. FAILS: kBadInput naming the key, its value and what is expected; for
// kUnsupported keys, unless the value is neutral.
void set_setting(LineSettings& settings, const std::string& key, const Json& value);

// Of the known settings, the one that `key` is probably meant to be.
std::optional<std::string> nearest_setting(const std::string& key);

// `over` where it says something, else `under`.
LineSettings merged(const LineSettings& over, const LineSettings& under);

// Equal for settings whose requests may share a chunk: all but max_tokens and seed, of which it says whether there is
// one.
std::string group_key(const LineSettings& settings);

// How the engine generates for a group, with the new tokens of this line. temperature 0 (the default) or do_sample
// false: the most probable tokens. What nobody says of top_p, top_k and min_p is said by generation_config.json, else
// it is off. FAILS: kBadInput as plan_generation; for n above 1 without drawing.
GenerationPlan plan_line(const LineSettings& settings, const model::ModelSpec& spec, const text::Tokenizer& tokenizer,
                         uint64_t seed);

}  // namespace evalmpi::eval

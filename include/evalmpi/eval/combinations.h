#pragma once

// Several models, adapters and shot counts in one job: each combination of them is one run.

#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/fields.h"
#include "evalmpi/eval/options.h"

namespace evalmpi::eval {

// The options of a job: those of every run, and lists of what its runs differ in.
struct JobOptions {
  EvalOptions each;                   // its model, adapter and num_fewshot are those of the lists
  std::vector<std::string> models;    // folders or hub ids
  std::vector<std::string> adapters;  // folders or hub ids; "none": the model alone. Empty: that
  std::vector<std::string> shots;     // "5", "zero_shot", "one_shot", "few_shot_5". Empty: as the tasks say
};

// fields(EvalOptions&) with lists for model, adapter and num-fewshot, and the spellings `models` and `prompts` of two
// of them. A folder whose name has a comma is not cut.
std::vector<Field> fields(JobOptions& options);

// Names that two options share: {"models", "model"}, {"prompts", "num-fewshot"}. Whoever lets one source of options
// beat another takes them for the same.
std::vector<std::pair<std::string, std::string>> other_spellings();

struct Combination {
  // A folder's name, of what is listed: "llama-8b", "llama-8b+lora-a", "llama-8b+lora-a_5shot". Models (adapters) are
  // called by the last part of their path, or by as many parts as tell them apart. It does not depend on the other
  // lists.
  std::string name;
  EvalOptions options;  // `each` with model, adapter and num_fewshot of this one; output is left as it is
};

// All combinations, shot counts fastest, then adapters, then models, each once.
// FAILS: kUsage naming option and value: no model, a shot count that is none, and as resolve().
std::vector<Combination> combinations(const JobOptions& options);

}  // namespace evalmpi::eval

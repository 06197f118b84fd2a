#pragma once

// What `evalmpi eval` and `evalmpi plan` can be told.

#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/fields.h"

namespace evalmpi::eval {

struct EvalOptions {
  // Numbers: what is asked and how it is computed.
  std::string model;
  std::string adapter;
  std::vector<std::string> tasks;
  std::optional<int> num_fewshot;
  std::optional<double> limit;
  std::string dtype = "auto";
  std::string seed = "0,1234,1234,1234";
  std::string gen_kwargs;
  std::vector<std::string> data_roots;
  std::vector<std::string> include_paths;
  int bootstrap_iterations = 100'000;

  // Layout: where it is computed.
  int tp = 1;
  std::optional<int> dp;
  int pp = 1;
  int threads_per_lane = 1;
  std::optional<int> max_length;
  std::string token_budget = "auto";
  std::string batch_size;
  std::optional<double> max_hours;

  // Output.
  std::string output;
  bool log_samples = true;
  bool quiet = false;
  bool strict = false;
  bool timings = false;
};

// The one list of the options: names, help, and what a resume may change.
std::vector<Field> fields(EvalOptions& options);

// Values that follow from the options' texts.
struct ResolvedOptions {
  std::optional<int64_t> token_budget;  // rows of a segment; absent: auto
  std::optional<int64_t> fewshot_seed;
  uint64_t sampling_seed = 1234;  // the harness's torch seed; its "None", which nobody could repeat, is 1234 too
  Json generation_kwargs = Json::object();  // of --gen-kwargs
};

// Checks what can be checked before any file is read. FAILS: kUsage naming the option, the value and the remedy.
ResolvedOptions resolve(const EvalOptions& options);

}  // namespace evalmpi::eval

#pragma once

// What `evalmpi eval` and `evalmpi plan` can be told.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/fields.h"
#include "evalmpi/device/devices.h"

namespace evalmpi::eval {

struct EvalOptions {
  // Numbers: what is asked and how it is computed.
  std::string model;
  std::string adapter;
  std::vector<std::string> tasks;
  std::optional<int> num_fewshot;
  std::optional<double> limit;
  std::string samples;
  std::string device = "auto";
  std::string dtype = "auto";
  bool fast_kernels = false;
  bool fast_reduce = false;
  std::string seed = "0,1234,1234,1234";
  std::string gen_kwargs;
  std::string apply_chat_template;  // empty: none; true: the default one; else its name
  std::string chat_template_args;
  std::optional<bool> enable_thinking;
  std::string think_end_token;  // a text, or a token's id in digits
  std::optional<bool> fewshot_as_multiturn;
  std::string system_instruction;
  std::optional<bool> add_bos_token;
  std::optional<int> prefix_token_id;
  std::string tokenizer;
  std::vector<std::string> data_roots;
  std::vector<std::string> include_paths;
  int bootstrap_iterations = 100'000;

  // Layout: where it is computed.
  int tp = 1;
  std::optional<int> dp;
  int pp = 1;
  std::optional<int> devices_per_rank;
  bool share_devices = false;
  bool host_staged = false;
  bool cuda_graphs = false;
  bool allow_split = false;
  int threads_per_lane = 1;
  std::optional<int> max_length;
  std::string token_budget = "auto";
  std::string batch_size;
  std::optional<double> max_hours;
  std::optional<double> hang_timeout;  // seconds

  // Output.
  std::string output;
  bool predict_only = false;
  bool write_out = false;
  bool show_config = false;
  bool log_samples = true;
  bool quiet = false;
  bool strict = false;
  bool strict_functions = false;
  std::optional<double> verify;  // fraction of the chunks
  bool timings = false;
};

// The one list of the options: names, help, and what a resume may change.
std::vector<Field> fields(EvalOptions& options);

// How prompts become conversations.
struct ChatOptions {
  bool applies = false;
  std::string template_name;        // empty: the default one
  Json arguments = Json::object();  // further variables of the template
  bool thinks = false;              // they ask the model to think before it answers
  // As the harness records it: absent if nothing was said and nothing applies.
  std::optional<bool> fewshot_as_multiturn;
};

// Values that follow from the options' texts.
struct ResolvedOptions {
  device::Choice device = device::Choice::kAuto;
  std::optional<int64_t> token_budget;                  // rows of a segment; absent: auto
  std::map<std::string, std::vector<int64_t>> samples;  // rows by task, of --samples
  std::optional<int64_t> fewshot_seed;
  uint64_t sampling_seed = 1234;  // the harness's torch seed; its "None", which nobody could repeat, is 1234 too
  Json generation_kwargs = Json::object();  // of --gen-kwargs
  ChatOptions chat;
  std::string think_end_token;
};

// Checks what can be checked before any file is read, and on any machine (devices: computing.h). FAILS: kUsage naming
// the option, the value and the remedy.
ResolvedOptions resolve(const EvalOptions& options);

// The same of what any run on a model has: model, layout, output, generation settings; no tasks, no conversations.
ResolvedOptions resolve_run(const EvalOptions& options);

// --device. FAILS: kUsage; kUnavailable for a device of another kind.
device::Choice parse_device(const std::string& text);

// What the harness's comma lists of settings say: key=value,key=value with values as it reads them (true/false in any
// case, numbers, Python literals, else text; commas inside brackets and quotes belong to a value), or one JSON object.
// FAILS: kUsage naming the option.
Json parse_key_values(const std::string& text, const std::string& option);

}  // namespace evalmpi::eval

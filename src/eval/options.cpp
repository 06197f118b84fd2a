#include "evalmpi/eval/options.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "chat.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"

namespace evalmpi::eval {
namespace {

constexpr int64_t kMaxTokenBudget = 1 << 20;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::optional<int64_t> to_integer(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<double> to_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

struct Seeds {
  std::optional<int64_t> torch, fewshot;
};

// The harness's --seed: python,numpy,torch,fewshot; one number stands for all four, the fourth has a default.
Seeds parse_seeds(const std::string& text) {
  const std::vector<std::string> parts = split(text, ',');
  if (parts.size() != 1 && parts.size() != 3 && parts.size() != 4) {
    fail(ExitCode::kUsage, "--seed {}: expected one number, or python,numpy,torch,fewshot", text);
  }
  for (const std::string& part : parts) {
    if (part != "None" && !to_integer(part))
      fail(ExitCode::kUsage, "--seed {}: \"{}\" is not a whole number", text, part);
  }
  const std::string& torch = parts.size() == 1 ? parts.front() : parts[2];
  return {to_integer(torch), parts.size() == 3 ? 1234 : to_integer(parts.back())};
}

// Pieces between commas that are outside of brackets, braces and quotes.
std::vector<std::string> split_top_level(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  char quote = 0;
  for (const char c : text) {
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[' || c == '(' || c == '{') {
      ++depth;
    } else if (c == ']' || c == ')' || c == '}') {
      depth = std::max(depth - 1, 0);
    } else if (c == ',' && depth == 0) {
      parts.emplace_back();
      continue;
    }
    parts.back() += c;
  }
  std::erase(parts, "");
  return parts;
}

// true/false in any case, number, Python literal, text.
Json parse_value(const std::string& text) {
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower == "true") return true;
  if (lower == "false") return false;
  if (const auto integer = to_integer(text); integer && text.front() != '-' && text.front() != '+') return *integer;
  if (const auto number = to_number(text)) return *number;
  if (const auto literal = text::python::parse_literal(text)) return *literal;
  return text;
}

Json parse_json_option(const std::string& text, const std::string& option) {
  try {
    return parse_json(text, "--" + option);
  } catch (const Error& error) {
    fail(ExitCode::kUsage, "{} (JSON needs double quotes)", error.what());
  }
}

std::optional<int64_t> parse_token_budget(const std::string& text) {
  if (text == "auto") return std::nullopt;
  const auto value = to_integer(text);
  if (!value || *value < 1 || *value > kMaxTokenBudget) {
    fail(ExitCode::kUsage, "--token-budget {}: expected auto or a number of tokens from 1 to {}", text,
         kMaxTokenBudget);
  }
  return value;
}

// As other tools take it: a number, auto, or auto:N.
void check_batch_size(const std::string& text) {
  if (text.empty() || text == "auto") return;
  const auto value = to_integer(text.starts_with("auto:") ? text.substr(5) : text);
  if (value && *value >= 1) return;
  fail(ExitCode::kUsage,
       "--batch-size {}: expected a number from 1 up, auto or auto:N (none is needed: see --token-budget)", text);
}

void check_dtype(const std::string& dtype) {
  for (const char* known : {"auto", "float32", "bfloat16", "float16"}) {
    if (dtype == known) return;
  }
  fail(ExitCode::kUsage, "--dtype {}: expected auto, float32, bfloat16 or float16", dtype);
}

}  // namespace

device::Choice parse_device(const std::string& text) {
  if (text.empty()) return device::Choice::kAuto;
  if (text == "cuda:0") return device::Choice::kCuda;
  if (text.starts_with("cuda:")) {
    fail(ExitCode::kUsage,
         "--device {}: say cuda, and choose devices with CUDA_VISIBLE_DEVICES; ranks of a host take them in turn",
         text);
  }
  if (text == "mps") {
    fail(ExitCode::kUnavailable,
         "--device mps: evalmpi computes on CPUs and CUDA devices; leave the option out, or say cpu");
  }
  return device::parse_choice(text);
}

Json parse_key_values(const std::string& text, const std::string& option) {
  if (text.starts_with('{')) {
    const Json parsed = parse_json_option(text, option);
    if (!parsed.is_object()) fail(ExitCode::kUsage, "--{} {}: expected a JSON object", option, text);
    return parsed;
  }
  Json values = Json::object();
  for (const std::string& part : split_top_level(text)) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0)
      fail(ExitCode::kUsage, "--{} {}: \"{}\" is not key=value", option, text, part);
    values[part.substr(0, equals)] = parse_value(part.substr(equals + 1));
  }
  return values;
}

namespace {

// --gen-kwargs: given several times, or with several words, the settings add up and later ones hold.
Field gen_kwargs_field(EvalOptions& o) {
  Field field = text_field("gen-kwargs", "K=V,..", o.gen_kwargs,
                           "Changes generation settings of all generation tasks, such as max_gen_toks=64 or "
                           "temperature=0.7,top_p=0.9 or until=[\"\\n\"], or one JSON object.",
                           Affects::kNumbers);
  field.may_repeat = field.takes_more = field.takes_mapping = true;
  field.set = [&o](const std::string& text) {
    Json values = parse_key_values(o.gen_kwargs, "gen-kwargs");
    values.update(parse_key_values(text, "gen-kwargs"));
    o.gen_kwargs = values.dump();
  };
  return field;
}

Field chat_template_field(EvalOptions& o) {
  Field field =
      text_field("apply-chat-template", "NAME", o.apply_chat_template,
                 "Put prompts through the model's chat template, as instruction-tuned models expect: the default "
                 "one, or the one of that name.",
                 Affects::kNumbers);
  field.value_if_bare = "true";
  return field;
}

// --samples: which documents, by task.
std::map<std::string, std::vector<int64_t>> parse_samples(const std::string& text) {
  std::map<std::string, std::vector<int64_t>> samples;
  if (text.empty()) return samples;
  const bool is_inline = text.front() == '{';
  const std::string where = is_inline ? "--samples" : "--samples " + text;
  const Json parsed = is_inline ? parse_json_option(text, "samples") : read_json_file(text);
  if (!parsed.is_object()) fail(ExitCode::kUsage, "{}: expected {{\"task\": [row, ...]}}", where);
  for (const auto& [task, rows] : parsed.items()) {
    const auto is_row = [](const Json& row) { return row.is_number_integer() && row >= 0; };
    if (!rows.is_array() || !std::all_of(rows.begin(), rows.end(), is_row)) {
      fail(ExitCode::kUsage, "{}: {}: expected a list of rows, numbered from 0", where, task);
    }
    samples[task] = rows.get<std::vector<int64_t>>();
  }
  return samples;
}

}  // namespace

std::vector<Field> fields(EvalOptions& o) {
  using enum Affects;
  std::vector<Field> all = {
      text_field(
          "model", "DIR", o.model,
          "Model to evaluate: a Hugging Face folder (config.json, *.safetensors, tokenizer.json), or the id of a "
          "model in the hub cache (org/name).",
          kNumbers),
      text_field(
          "adapter", "DIR", o.adapter,
          "LoRA adapter on the model, a folder as PEFT saves it (adapter_config.json, adapter_model.safetensors), or "
          "the id of one in the hub cache. It is not merged into the model. Default: none.",
          kNumbers),
      list_field("tasks", "A,B", o.tasks,
                 "Tasks, groups, tags, globs or paths of task files, separated by commas. See `evalmpi tasks list`.",
                 kNumbers),
      integer_field("num-fewshot", "K", o.num_fewshot, 0,
                    "Examples in each prompt. Default: what the task file says, else 0; a task that says 0 keeps 0.",
                    kNumbers),
      number_field("limit", "N", o.limit,
                   "Evaluate only the first N documents of each task, or with N below 1 that fraction.", kNumbers),
      text_field("samples", "JSON", o.samples,
                 "Evaluate only these documents: {\"arc_easy\": [0, 3, 17], ...}, rows of the evaluated split from 0, "
                 "or a file that holds this. Tasks that are not named are evaluated whole.",
                 kNumbers),
      text_field(
          "device", "NAME", o.device,
          "Where the model is computed: auto, cpu or cuda. auto: the NVIDIA GPUs where every rank sees one, else the "
          "CPUs. Ranks of a host take its GPUs in turn; CUDA_VISIBLE_DEVICES chooses among them. Default auto.",
          kLayout),
      text_field(
          "dtype", "TYPE", o.dtype,
          "What matrices are multiplied in: auto, float32, bfloat16 or float16. On a CPU auto is float32, the only "
          "one; on a GPU it is the checkpoint's. Sums, norms and log-probabilities are float32 in any case.",
          kNumbers),
      switch_field(
          "fast-kernels", o.fast_kernels,
          "On a GPU: kernels whose result for a token may depend on what is computed beside it. Faster, but scores "
          "are then equal bit by bit only for the same chunks.",
          kNumbers),
      switch_field(
          "fast-reduce", o.fast_reduce,
          "With --tp on GPUs: NCCL's own sum, whose order it chooses, instead of the one in the order of ranks.",
          kNumbers),
      integer_field("max-length", "N", o.max_length, 1,
                    "Cut prompts on the left to N tokens, continuation included. Default: the model's positions.",
                    kNumbers),
      text_field(
          "seed", "N", o.seed,
          "Seeds as the harness has them: one number, or python,numpy,torch,fewshot. The last two matter here: torch "
          "draws tokens where a task samples, fewshot draws the examples. Default 0,1234,1234,1234.",
          kNumbers),
      gen_kwargs_field(o),
      chat_template_field(o),
      text_field("chat-template-args", "K=V,..", o.chat_template_args,
                 "Variables for the chat template, such as enable_thinking=false.", kNumbers),
      boolean_field("enable-thinking", o.enable_thinking,
                    "Whether a reasoning model thinks before it answers: the chat template's variable enable_thinking. "
                    "true is for tasks that generate, and needs --think-end-token.",
                    kNumbers),
      text_field(
          "think-end-token", "TEXT|ID", o.think_end_token,
          "What ends a model's thinking, such as </think>, or the token's id: answers are taken after the last one.",
          kNumbers),
      boolean_field(
          "fewshot-as-multiturn", o.fewshot_as_multiturn,
          "With a chat template: examples as turns of user and assistant (the default), or with false all in the "
          "one message of the user.",
          kNumbers),
      text_field("system-instruction", "TEXT", o.system_instruction,
                 "Text before every prompt; with a chat template it is the system's message.", kNumbers),
      boolean_field("add-bos-token", o.add_bos_token,
                    "Put the BOS token before every prompt, or do not. Default: as the tokenizer's own files say.",
                    kNumbers),
      integer_field("prefix-token-id", "ID", o.prefix_token_id, 0,
                    "The token that an empty context is scored after. Default: BOS, else EOS.", kNumbers),
      text_field("tokenizer", "DIR", o.tokenizer,
                 "Another tokenizer than the model's: a folder, or the id of a cached model.", kNumbers),
      path_list_field("data-root", "DIR", o.data_roots,
                      "Folder with datasets as DIR/<org>/<name>/, looked at before the Hugging Face hub cache. May be "
                      "given several times.",
                      kNumbers),
      path_list_field("include-path", "DIR", o.include_paths,
                      "Folder with further task files; its tasks replace built-in ones of the same name. May be given "
                      "several times.",
                      kNumbers),
      integer_field("bootstrap-iters", "N", o.bootstrap_iterations, 0,
                    "Resamples for standard errors that have no closed form (perplexity). 0: none. Default 100000.",
                    kNumbers),
      integer_field("tp", "N", o.tp, 1,
                    "Places that share one copy of the model; need not divide its heads. Default 1.", kLayout),
      integer_field("dp", "N", o.dp, 1, "Copies of the model. Default: as many as fit the ranks.", kLayout),
      integer_field("pp", "N", o.pp, 1, "Pipeline stages; only 1 is built yet.", kLayout),
      integer_field("devices-per-rank", "N", o.devices_per_rank, 1,
                    "GPUs that each rank drives, a place on each. Default 1, or more where there are too few ranks.",
                    kLayout),
      switch_field("share-devices", o.share_devices,
                   "Let several ranks work on one GPU, which is refused otherwise: they share its memory and its time.",
                   kLayout),
      switch_field("host-staged", o.host_staged,
                   "With --tp on GPUs: sums go through the host and MPI instead of NCCL. The bits are the same.",
                   kLayout),
      switch_field("cuda-graphs", o.cuda_graphs,
                   "On a GPU: record a step of generation once and replay it. Default off.", kLayout),
      switch_field("allow-split", o.allow_split,
                   "Where a GPU has no memory for a step, after trying twice: compute it in smaller steps and mark the "
                   "record, instead of ending (exit code 69).",
                   kLayout),
      integer_field("threads-per-lane", "N", o.threads_per_lane, 1,
                    "CPU threads that work on one chunk. Default 1: each core has a chunk of its own.", kLayout),
      text_field("token-budget", "N", o.token_budget,
                 "Distinct tokens computed in one step, or auto: as many as the kernels need for their full rate and "
                 "memory allows. Changes memory and speed, never a score. `evalmpi plan` shows the choice.",
                 kLayout),
      text_field("batch-size", "X", o.batch_size,
                 "A number, auto or auto:N, for the habit's sake: nothing has to be tuned, and no score depends on it. "
                 "Work is sized in distinct tokens instead; to use less memory, lower --token-budget.",
                 kLayout),
      number_field("max-hours", "H", o.max_hours,
                   "Stop in time before H hours are over, with everything saved (exit code 75). The end of a Slurm job "
                   "is heeded without this.",
                   kLayout),
      number_field(
          "hang-timeout", "S", o.hang_timeout,
          "End the job (exit code 75, everything saved) when a rank shows no sign of life for S seconds, or a thread "
          "neither computes nor reads; the message names it. However slow, work is no hang. 0: never. Default 300.",
          kLayout),
      path_field("output", "DIR", o.output,
                 "Where results go; a second start with the same folder computes only what is missing. Default: a new "
                 "folder runs/<what>-<time>.",
                 kOutput),
      switch_field("predict-only", o.predict_only, "Ask and write the samples, but compute no metrics.", kOutput),
      switch_field("write-out", o.write_out, "Print the first document's prompt of each task before it is asked.",
                   kOutput),
      switch_field("show-config", o.show_config, "Print the whole results file, task configurations included.",
                   kOutput),
      switch_field("log-samples", o.log_samples, "Write samples_<task>_<time>.jsonl. Default on; --no-log-samples.",
                   kOutput),
      switch_field("quiet", o.quiet, "Print only the table and errors.", kOutput),
      number_field("verify", "FRACTION", o.verify,
                   "Compute this share of the chunks a second time, on another copy of the model where there is one, "
                   "and compare bit by bit: finds damaged hardware. Between 0 and 1. Default 0.",
                   kOutput),
      switch_field("strict", o.strict,
                   "On a resume, compute again what was computed in another numerics class (another tp, say).",
                   kOutput),
      switch_field("strict-functions", o.strict_functions,
                   "Stop (exit code 65) where a Python function beside a task file is not the one of "
                   "lm-evaluation-harness 0.4.13 that is computed in its place. Default: a warning.",
                   kOutput),
      switch_field("timings", o.timings, "Print where the time went.", kOutput),
  };
  constexpr std::pair<const char*, char> kLetters[] = {
      {"model", 'M'},  {"tasks", 't'},       {"limit", 'L'},   {"num-fewshot", 'f'}, {"batch-size", 'b'},
      {"output", 'o'}, {"log-samples", 's'}, {"samples", 'E'}, {"write-out", 'w'},   {"predict-only", 'x'}};
  for (Field& field : all) {
    for (const auto& [name, letter] : kLetters) {
      if (field.name == name) field.letter = letter;
    }
    if (field.name == "tasks") field.takes_more = true;
  }
  return all;
}

ResolvedOptions resolve_run(const EvalOptions& options) {
  if (options.model.empty()) fail(ExitCode::kUsage, "--model is missing: a model folder, or the id of a cached model");
  check_dtype(options.dtype);
  if (options.max_hours && !(*options.max_hours > 0)) {
    fail(ExitCode::kUsage, "--max-hours {}: expected a number above 0", *options.max_hours);
  }
  if (options.verify && !(*options.verify >= 0 && *options.verify <= 1)) {
    fail(ExitCode::kUsage, "--verify {}: expected a share of the chunks between 0 and 1", *options.verify);
  }
  if (options.hang_timeout && !(*options.hang_timeout >= 0 && *options.hang_timeout <= 1e6)) {
    fail(ExitCode::kUsage, "--hang-timeout {}: expected seconds, from 0 to a million", *options.hang_timeout);
  }
  if (options.pp > 1)
    fail(ExitCode::kUsage, "--pp {}: pipeline parallelism is not built yet; use --tp and --dp", options.pp);
  ResolvedOptions resolved;
  resolved.device = parse_device(options.device);
  resolved.token_budget = parse_token_budget(options.token_budget);
  check_batch_size(options.batch_size);
  resolved.generation_kwargs = parse_key_values(options.gen_kwargs, "gen-kwargs");
  return resolved;
}

ResolvedOptions resolve(const EvalOptions& options) {
  ResolvedOptions resolved = resolve_run(options);
  if (options.tasks.empty()) fail(ExitCode::kUsage, "--tasks is missing: see `evalmpi tasks list`");
  if (options.limit && !(*options.limit > 0)) {
    fail(ExitCode::kUsage, "--limit {}: expected a number of documents, or a fraction above 0", *options.limit);
  }
  if (options.limit && !options.samples.empty()) fail(ExitCode::kUsage, "--limit and --samples exclude each other");
  if (options.predict_only && !options.log_samples)
    fail(ExitCode::kUsage, "--predict-only with --no-log-samples would write nothing");
  resolved.samples = parse_samples(options.samples);
  const Seeds seeds = parse_seeds(options.seed);
  resolved.fewshot_seed = seeds.fewshot;
  if (seeds.torch) resolved.sampling_seed = static_cast<uint64_t>(*seeds.torch);
  resolved.chat = resolve_chat(options);
  resolved.think_end_token = options.think_end_token;
  return resolved;
}

}  // namespace evalmpi::eval

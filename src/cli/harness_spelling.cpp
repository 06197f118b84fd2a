#include "harness_spelling.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "evalmpi/base/error.h"
#include "evalmpi/eval/options.h"
#include "evalmpi/text/python.h"

namespace evalmpi::cli {
namespace {

constexpr const char* kLocalModels[] = {"hf", "hf-auto", "huggingface", "vllm", "sglang"};
constexpr const char* kOtherModels[] = {"anthropic-chat",
                                        "anthropic-completions",
                                        "dummy",
                                        "gguf",
                                        "ggml",
                                        "hf-audiolm-qwen",
                                        "hf-mistral3",
                                        "hf-multimodal",
                                        "ipex",
                                        "local-chat-completions",
                                        "local-completions",
                                        "mamba_ssm",
                                        "megatron_lm",
                                        "nemo_lm",
                                        "neuronx",
                                        "openai-chat-completions",
                                        "openai-completions",
                                        "openvino",
                                        "optimum-intel",
                                        "sparseml",
                                        "steered",
                                        "textsynth",
                                        "vllm-vlm",
                                        "watsonx_llm",
                                        "winml"};

enum class Meaning {
  kOption,   // is evalmpi's option `word`
  kNothing,  // changes no number here; `word` says why it is not needed
  kRefused,  // would change numbers; `word` says why there is none
};

struct ModelArgument {
  const char* name;
  Meaning meaning;
  const char* word;
};

constexpr const char* kMemory = "memory is divided by --tp and --token-budget";
constexpr const char* kBatches = "work is sized in distinct tokens (--token-budget), whatever the batch size";
constexpr const char* kNoRemoteCode = "evalmpi runs no code of a model's folder";
constexpr const char* kQuantised = "quantised weights are not supported";

constexpr ModelArgument kModelArguments[] = {
    {"pretrained", Meaning::kOption, "model"},
    {"peft", Meaning::kOption, "adapter"},
    {"dtype", Meaning::kOption, "dtype"},
    {"max_length", Meaning::kOption, "max-length"},
    {"max_model_len", Meaning::kOption, "max-length"},
    {"tokenizer", Meaning::kOption, "tokenizer"},
    {"add_bos_token", Meaning::kOption, "add-bos-token"},
    {"prefix_token_id", Meaning::kOption, "prefix-token-id"},
    {"device", Meaning::kOption, "device"},
    {"tensor_parallel_size", Meaning::kOption, "tp"},
    {"tp_size", Meaning::kOption, "tp"},
    {"data_parallel_size", Meaning::kOption, "dp"},
    {"dp_size", Meaning::kOption, "dp"},
    {"pipeline_parallel_size", Meaning::kOption, "pp"},
    {"batch_size", Meaning::kNothing, kBatches},
    {"max_batch_size", Meaning::kNothing, kBatches},
    {"logits_cache", Meaning::kNothing, "every common prefix is computed once anyway"},
    {"enable_prefix_caching", Meaning::kNothing, "every common prefix is computed once anyway"},
    {"truncation", Meaning::kNothing, "prompts that are too long are cut on the left"},
    {"backend", Meaning::kNothing, "config.json says what the model is"},
    {"trust_remote_code", Meaning::kNothing, kNoRemoteCode},
    {"use_fast_tokenizer", Meaning::kNothing, "tokenizers are evalmpi's own"},
    {"tokenizer_mode", Meaning::kNothing, "tokenizers are evalmpi's own"},
    {"softmax_dtype", Meaning::kNothing, "log-probabilities are summed in float32 or wider"},
    {"attn_implementation", Meaning::kNothing, "attention is evalmpi's own"},
    {"parallelize", Meaning::kNothing, kMemory},
    {"device_map", Meaning::kNothing, kMemory},
    {"device_map_option", Meaning::kNothing, kMemory},
    {"max_memory_per_gpu", Meaning::kNothing, kMemory},
    {"max_cpu_memory", Meaning::kNothing, kMemory},
    {"offload_folder", Meaning::kNothing, kMemory},
    {"low_cpu_mem_usage", Meaning::kNothing, kMemory},
    {"tp_plan", Meaning::kNothing, kMemory},
    {"gpu_memory_utilization", Meaning::kNothing, kMemory},
    {"mem_fraction_static", Meaning::kNothing, kMemory},
    {"swap_space", Meaning::kNothing, kMemory},
    {"enforce_eager", Meaning::kNothing, "it is a setting of another engine"},
    {"disable_log_stats", Meaning::kNothing, "it is a setting of another engine"},
    {"seed", Meaning::kNothing, "--seed says it"},
    {"revision", Meaning::kRefused, "give the snapshot's folder as the model"},
    {"subfolder", Meaning::kRefused, "give the folder itself as the model"},
    {"mixed_precision_dtype", Meaning::kRefused, "arithmetic is float32 on a CPU"},
    {"delta", Meaning::kRefused, "merge the delta first"},
    {"autogptq", Meaning::kRefused, kQuantised},
    {"gptqmodel", Meaning::kRefused, kQuantised},
    {"quantization", Meaning::kRefused, kQuantised},
    {"load_in_8bit", Meaning::kRefused, kQuantised},
    {"load_in_4bit", Meaning::kRefused, kQuantised},
    {"gguf_file", Meaning::kRefused, "GGUF files are not supported"},
    {"lora_local_path", Meaning::kOption, "adapter"},
    {"enable_thinking", Meaning::kOption, "enable-thinking"},
    {"think_end_token", Meaning::kOption, "think-end-token"},
    {"chat_template_args", Meaning::kOption, "chat-template-args"},
};

struct HarnessOption {
  const char* name;
  char letter;
  const char* metavar;
  const char* value_if_bare;
  bool takes_more;
  const char* why_not_needed;  // null: it means something
  const char* help;
};

constexpr HarnessOption kHarnessOptions[] = {
    {"model-args", 'a', "K=V,..", "", true, nullptr,
     "With --model hf or vllm: pretrained=DIR,dtype=..,peft=..,add_bos_token=.., as comma list, words or one JSON "
     "object."},
    {"config", 'C', "FILE", "", false, nullptr, "A job file; also one that was written for lm_eval."},
    {"output-path", 0, "DIR", "", false, nullptr, "The same as --output."},
    {"max-batch-size", 0, "N", "", false, kBatches, "Accepted and not needed, as --batch-size."},
    {"use-cache", 'c', "PATH", "", false,
     "every finished chunk is kept: a second start with the same --output computes only what is missing",
     "Accepted and not needed: a second start with the same --output computes only what is missing."},
    {"cache-requests", 0, "MODE", "true", false, "prompts are made faster than a cache of them is read",
     "Accepted and not needed."},
    {"check-integrity", 0, "BOOL", "true", false, "`evalmpi tasks validate` checks task files",
     "Accepted and not needed."},
    {"trust-remote-code", 0, "BOOL", "true", false, kNoRemoteCode,
     "Accepted and not heeded: no code of a model or dataset is run."},
    {"confirm-run-unsafe-code", 0, "BOOL", "true", false, "no code that a model writes is run",
     "Accepted and not heeded."},
    {"verbosity", 'v', "LEVEL", "", false, "--quiet and --timings say how much is printed", "Accepted and not heeded."},
    {"wandb-args", 0, "K=V,..", "", true, "nothing is uploaded: results_*.json is what such tools read",
     "Accepted and not heeded: nothing is uploaded."},
    {"wandb-config-args", 0, "K=V,..", "", true, "nothing is uploaded", "Accepted and not heeded."},
    {"trackio-args", 0, "K=V,..", "", true, "nothing is uploaded: results_*.json is what such tools read",
     "Accepted and not heeded."},
    {"hf-hub-log-args", 0, "K=V,..", "", true, "nothing is uploaded: results_*.json is what such tools read",
     "Accepted and not heeded."},
};

template <size_t N>
bool is_among(const char* const (&names)[N], const std::string& name) {
  return std::any_of(std::begin(names), std::end(names), [&](const char* known) { return name == known; });
}

std::optional<std::string> take(Values& values, const std::string& name) {
  const auto found = values.find(name);
  if (found == values.end()) return std::nullopt;
  std::string value = found->second.empty() ? "" : found->second.back();
  values.erase(found);
  return value;
}

void set(Values& values, const std::string& option, const std::string& value, const std::string& said) {
  if (values.contains(option)) fail(ExitCode::kUsage, "{} and --{} say the same thing; leave one out", said, option);
  values[option] = {value};
}

[[noreturn]] void fail_unknown(const std::string& name) {
  std::vector<std::string> names;
  for (const ModelArgument& known : kModelArguments) names.emplace_back(known.name);
  const auto nearest = nearest_name(name, names);
  fail(ExitCode::kUsage, "--model_args {}: unknown{}", name,
       nearest ? "; did you mean " + *nearest + "?" : ", and it might change the numbers; leave it out if it does not");
}

void heed_model_argument(const std::string& name, const Json& value, Values& values, std::vector<std::string>& notes) {
  const auto known = std::find_if(std::begin(kModelArguments), std::end(kModelArguments),
                                  [&](const ModelArgument& argument) { return name == argument.name; });
  if (known == std::end(kModelArguments)) fail_unknown(name);
  const bool is_off = value.is_null() || value == false || value == "None" || value == "";
  if (known->meaning == Meaning::kRefused) {
    if (!is_off && !(name == "revision" && value == "main"))
      fail(ExitCode::kUsage, "--model_args {}: {}", name, known->word);
  } else if (known->meaning == Meaning::kNothing) {
    if (!is_off) notes.push_back(fmt::format("--model_args {} is not needed: {}", name, known->word));
  } else if (!value.is_null() && value != "None") {
    std::string text = value.is_object() ? value.dump() : text::python::str(value);
    if (name == "dtype" && text.starts_with("torch.")) text.erase(0, 6);
    set(values, known->word, text, fmt::format("--model_args {}", name));
  }
}

// --model hf and --model_args, or --model alone as a folder or id.
void heed_model(Values& values, std::vector<std::string>& notes) {
  Json arguments = Json::object();
  const auto given = values.find("model-args");
  const bool has_arguments = given != values.end();
  if (has_arguments) {
    for (const std::string& text : given->second) arguments.update(eval::parse_key_values(text, "model_args"));
    values.erase(given);
  }
  const auto model = values.find("model");
  const std::string name = model == values.end() || model->second.empty() ? "" : model->second.back();
  const bool is_path = !name.empty() && std::filesystem::exists(name);
  if (is_among(kOtherModels, name) && !is_path) {
    fail(ExitCode::kUsage,
         "--model {}: evalmpi runs models itself; say --model FOLDER, or --model hf --model_args pretrained=FOLDER",
         name);
  }
  if (is_among(kLocalModels, name) && !is_path) {
    if (!arguments.contains("pretrained")) {
      fail(ExitCode::kUsage, "--model {}: which one? Say --model FOLDER, or --model_args pretrained=FOLDER", name);
    }
    values.erase(model);
  }
  for (const auto& [key, value] : arguments.items()) heed_model_argument(key, value, values, notes);
}

// A results file's name stands for the folder beside it.
std::string output_folder(const std::string& path) {
  return path.ends_with(".json") ? std::filesystem::path(path).replace_extension("").string() : path;
}

}  // namespace

std::vector<Field> harness_fields() {
  std::vector<Field> fields;
  for (const HarnessOption& option : kHarnessOptions) {
    Field field{option.name,
                option.metavar,
                option.help,
                Affects::kHarness,
                false,
                option.takes_more,
                [](const std::string&) {},
                [] { return Json(); }};
    field.letter = option.letter;
    field.takes_more = option.takes_more;
    field.takes_mapping = option.takes_more;
    field.value_if_bare = option.value_if_bare;
    field.is_path = field.name == "output-path";
    fields.push_back(std::move(field));
  }
  return fields;
}

void say_in_own_words(Values& values, std::vector<std::string>& positionals, std::vector<std::string>& notes) {
  if (const auto file = take(values, "config")) positionals.push_back(*file);
  if (const auto output = take(values, "output-path")) set(values, "output", output_folder(*output), "--output_path");
  for (const HarnessOption& option : kHarnessOptions) {
    if (option.why_not_needed == nullptr) continue;
    const auto value = take(values, option.name);
    if (value && *value != "false")
      notes.push_back(fmt::format("--{} is not needed: {}", option.name, option.why_not_needed));
  }
  heed_model(values, notes);
}

}  // namespace evalmpi::cli

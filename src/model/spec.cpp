#include "evalmpi/model/spec.h"

#include <vector>

#include "config_reader.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
namespace {

// No model comes near these; they keep products of sizes far from overflow.
constexpr int64_t kMaxHidden = 1 << 18;
constexpr int64_t kMaxMlp = 1 << 21;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxHeads = 1 << 14;
constexpr int64_t kMaxHeadDim = 1 << 13;
constexpr int64_t kMaxVocab = 1 << 24;
constexpr int64_t kMaxPositions = 1 << 24;
constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;

void read_common_sizes(const ConfigReader& config, ModelSpec& spec) {
  spec.hidden = config.integer("hidden_size", 1, kMaxHidden);
  spec.layers = config.integer("num_hidden_layers", 1, kMaxLayers);
  spec.heads = config.integer("num_attention_heads", 1, kMaxHeads);
  spec.mlp = config.integer("intermediate_size", 1, kMaxMlp);
  spec.vocab = config.integer("vocab_size", 1, kMaxVocab);
  spec.max_positions = config.integer_or("max_position_embeddings", 2048, 1, kMaxPositions);
  spec.tied_head = config.flag_or("tie_word_embeddings", false);
}

void read_head_dim(const ConfigReader& config, ModelSpec& spec) {
  spec.head_dim = config.integer_or("head_dim", spec.hidden / spec.heads, 1, kMaxHeadDim);
  if (!config.has("head_dim") && spec.hidden % spec.heads != 0) {
    fail(ExitCode::kBadInput, "{}: hidden_size {} is not a multiple of num_attention_heads {}", config.where(),
         spec.hidden, spec.heads);
  }
}

// `rope` is the object that holds rope_type: rope_scaling in transformers 4, rope_parameters in 5.
void read_rotary_scaling(const ConfigReader& rope, const ModelSpec& spec, RotarySpec& rotary) {
  const std::string type = rope.text_or("rope_type", rope.text_or("type", "default").c_str());
  if (type == "default") return;
  if (type != "linear" && type != "llama3") {
    fail(ExitCode::kBadInput, "{}: rotary positions of type \"{}\" are not supported (default, linear, llama3 are)",
         rope.where(), type);
  }
  rotary.factor = rope.number("factor", 1e-6, 1e6);
  rotary.scaling = RotaryScaling::kLinear;
  if (type == "linear") return;
  rotary.scaling = RotaryScaling::kLlama3;
  rotary.low_freq_factor = rope.number("low_freq_factor", 1e-6, 1e6);
  rotary.high_freq_factor = rope.number("high_freq_factor", 1e-6, 1e6);
  rotary.original_max_positions =
      rope.integer_or("original_max_position_embeddings", spec.max_positions, 1, kMaxPositions);
  if (!(rotary.high_freq_factor > rotary.low_freq_factor)) {
    fail(ExitCode::kBadInput, "{}: high_freq_factor must be greater than low_freq_factor", rope.where());
  }
}

// theta_key and portion_key are the family's spellings in transformers 4.
void read_rotary(const ConfigReader& config, const char* theta_key, const char* portion_key, double default_portion,
                 ModelSpec& spec) {
  RotarySpec& rotary = spec.rotary;
  rotary.theta = config.number_or(theta_key, config.number_or("rope_theta", 10000.0, 1.0, 1e30), 1.0, 1e30);
  double portion =
      config.number_or(portion_key, config.number_or("partial_rotary_factor", default_portion, 0.0, 1.0), 0.0, 1.0);
  if (config.has("rope_parameters")) {
    const ConfigReader rope = config.object("rope_parameters");
    rotary.theta = rope.number_or("rope_theta", rotary.theta, 1.0, 1e30);
    portion = rope.number_or("partial_rotary_factor", portion, 0.0, 1.0);
    read_rotary_scaling(rope, spec, rotary);
  } else if (config.has("rope_scaling")) {
    read_rotary_scaling(config.object("rope_scaling"), spec, rotary);
  }
  rotary.dims = static_cast<int64_t>(static_cast<double>(spec.head_dim) * portion);
  if (rotary.dims < 2 || rotary.dims % 2 != 0) {
    fail(ExitCode::kBadInput,
         "{}: rotary positions on {} of {} dimensions of a head; the number must be even and at least 2",
         config.where(), rotary.dims, spec.head_dim);
  }
}

[[noreturn]] void fail_activation(const ConfigReader& config, const std::string& activation, const char* known) {
  fail(ExitCode::kBadInput, "{}: hidden_act \"{}\" is not supported for {} (known: {})", config.where(), activation,
       config.text_or("model_type", "this model"), known);
}

// LlamaConfig in transformers; the fallbacks are its defaults.
void read_llama(const ConfigReader& config, ModelSpec& spec) {
  read_common_sizes(config, spec);
  read_head_dim(config, spec);
  spec.kv_heads = config.integer_or("num_key_value_heads", spec.heads, 1, kMaxHeads);
  spec.norm = NormKind::kRms;
  spec.norm_eps = config.number_or("rms_norm_eps", 1e-6, 0.0, 1.0);
  spec.attention_bias = config.flag_or("attention_bias", false);
  spec.mlp_bias = config.flag_or("mlp_bias", false);
  const std::string activation = config.text_or("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") fail_activation(config, activation, "silu");
  spec.mlp_kind = MlpKind::kGatedSilu;
  read_rotary(config, "rope_theta", "partial_rotary_factor", 1.0, spec);
  if (spec.rotary.dims != spec.head_dim) {
    fail(ExitCode::kBadInput, "{}: partial_rotary_factor other than 1 is not supported for Llama", config.where());
  }
}

// GPTNeoXConfig in transformers; the fallbacks are its defaults.
void read_gpt_neox(const ConfigReader& config, ModelSpec& spec) {
  read_common_sizes(config, spec);
  spec.head_dim = spec.hidden / spec.heads;
  if (spec.hidden % spec.heads != 0) {
    fail(ExitCode::kBadInput, "{}: hidden_size {} is not a multiple of num_attention_heads {}", config.where(),
         spec.hidden, spec.heads);
  }
  spec.kv_heads = spec.heads;
  spec.norm = NormKind::kLayer;
  spec.norm_eps = config.number_or("layer_norm_eps", 1e-5, 0.0, 1.0);
  spec.parallel_residual = config.flag_or("use_parallel_residual", true);
  spec.attention_bias = config.flag_or("attention_bias", true);
  spec.mlp_bias = true;
  const std::string activation = config.text_or("hidden_act", "gelu");
  if (activation == "gelu") {
    spec.mlp_kind = MlpKind::kGeluErf;
  } else if (activation == "gelu_new" || activation == "gelu_fast" || activation == "gelu_pytorch_tanh") {
    spec.mlp_kind = MlpKind::kGeluTanh;
  } else {
    fail_activation(config, activation, "gelu, gelu_new, gelu_fast, gelu_pytorch_tanh");
  }
  read_rotary(config, "rotary_emb_base", "rotary_pct", 0.25, spec);
}

struct FamilyReader {
  const char* architecture;
  const char* model_type;
  void (*read)(const ConfigReader& config, ModelSpec& spec);
};

constexpr FamilyReader kFamilies[] = {
    {"LlamaForCausalLM", "llama", read_llama},
    {"GPTNeoXForCausalLM", "gpt_neox", read_gpt_neox},
};

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// By architectures[0]; by model_type where a config.json names no architecture.
const FamilyReader& find_family(const ConfigReader& config) {
  std::string architecture;
  if (config.has("architectures") && config.raw("architectures").is_array() && !config.raw("architectures").empty() &&
      config.raw("architectures")[0].is_string()) {
    architecture = config.raw("architectures")[0].get<std::string>();
  }
  const std::string model_type = config.text_or("model_type", "");
  for (const FamilyReader& family : kFamilies) {
    if (architecture.empty() ? model_type == family.model_type : architecture == family.architecture) return family;
  }
  fail(ExitCode::kBadInput, "{}: the architecture \"{}\" is not supported. Supported are: {}.", config.where(),
       architecture.empty() ? model_type : architecture, joined(supported_architectures()));
}

void check_plain_weights(const ConfigReader& config) {
  if (!config.has("quantization_config")) return;
  fail(ExitCode::kBadInput,
       "{}: the weights are quantised (quantization_config), which is not supported; use the unquantised model",
       config.where());
}

DType read_source_dtype(const ConfigReader& config) {
  const std::string name = config.text_or("dtype", config.text_or("torch_dtype", "float32").c_str());
  if (name == "bfloat16") return DType::kBFloat16;
  if (name == "float16") return DType::kFloat16;
  return DType::kFloat32;
}

// An id, a list of ids, or nothing.
std::vector<int64_t> read_ids(const ConfigReader& config, const char* key) {
  if (!config.has(key)) return {};
  const Json& value = config.raw(key);
  if (!value.is_array()) return {config.integer(key, -1, kMaxVocab)};
  std::vector<int64_t> ids;
  for (const Json& element : value) {
    if (!element.is_number_integer() || element.get<int64_t>() < 0 || element.get<int64_t>() > kMaxVocab) {
      fail(ExitCode::kBadInput, "{}: \"{}\" must be a token id or a list of them", config.where(), key);
    }
    ids.push_back(element.get<int64_t>());
  }
  return ids;
}

// generate() of transformers reads the generation config, and the model's config where there is none.
void read_special_ids(const ConfigReader& config, const fs::path& folder, ModelSpec& spec) {
  spec.eos_ids = read_ids(config, "eos_token_id");
  std::vector<int64_t> bos = read_ids(config, "bos_token_id");
  const fs::path path = folder / "generation_config.json";
  if (fs::exists(path)) {
    spec.generation_config = read_json_file(path);
    const ConfigReader generation(spec.generation_config, path.string());
    if (generation.has("eos_token_id")) spec.eos_ids = read_ids(generation, "eos_token_id");
    if (generation.has("bos_token_id")) bos = read_ids(generation, "bos_token_id");
  }
  std::erase_if(spec.eos_ids, [](int64_t id) { return id < 0; });
  spec.bos_id = bos.empty() ? -1 : bos.front();
}

void check_sizes(const ModelSpec& spec, const std::string& where) {
  if (spec.heads % spec.kv_heads != 0) {
    fail(ExitCode::kBadInput, "{}: num_attention_heads {} is not a multiple of num_key_value_heads {}", where,
         spec.heads, spec.kv_heads);
  }
  if (spec.heads * spec.head_dim > 4 * kMaxHidden) {
    fail(ExitCode::kBadInput, "{}: {} heads of {} dimensions cannot be", where, spec.heads, spec.head_dim);
  }
}

}  // namespace

int64_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return "float32";
    case DType::kBFloat16: return "bfloat16";
    case DType::kFloat16: return "float16";
  }
  return "unknown";
}

std::vector<std::string> supported_architectures() {
  std::vector<std::string> names;
  for (const FamilyReader& family : kFamilies) names.emplace_back(family.architecture);
  return names;
}

ModelSpec read_model_spec(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  if (!fs::exists(path)) {
    fail(ExitCode::kMissingInput,
         "{}: no config.json. A model folder holds config.json, *.safetensors and tokenizer.json, as saved by "
         "transformers' save_pretrained",
         folder.string());
  }
  ModelSpec spec;
  spec.config = parse_json(read_file(path, kMaxConfigBytes), path.string());
  const ConfigReader config(spec.config, path.string());
  const FamilyReader& family = find_family(config);
  check_plain_weights(config);
  spec.architecture = family.architecture;
  spec.family = family.model_type;
  family.read(config, spec);
  spec.source_dtype = read_source_dtype(config);
  read_special_ids(config, folder, spec);
  check_sizes(spec, path.string());
  return spec;
}

}  // namespace evalmpi::model

#include "family_fields.h"

#include <cmath>

#include "evalmpi/base/error.h"
#include "families.h"

namespace evalmpi::model {

using ops::Activation;

[[noreturn]] void fail_setting(const ConfigReader& config, const char* key, const char* only) {
  fail(ExitCode::kBadInput, "{}: \"{}\" is {}, which is not supported for {} ({} is)", config.where(), key,
       config.has(key) ? config.raw(key).dump() : "missing", config.text_or("model_type", "this model"), only);
}

Activation read_activation(const ConfigReader& config, const char* key, const char* fallback) {
  const std::string name = config.text_or(key, fallback);
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu" || name == "gelu_python") return Activation::kGeluErf;
  if (name == "gelu_new" || name == "gelu_fast" || name == "gelu_pytorch_tanh") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  if (name == "quick_gelu") return Activation::kQuickGelu;
  fail(ExitCode::kBadInput,
       "{}: {} \"{}\" is not supported (silu, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, quick_gelu and relu are)",
       config.where(), key, name);
}

int64_t size_named(const ConfigReader& config, const char* own, const char* common, int64_t highest) {
  return config.has(own) ? config.integer(own, 1, highest) : config.integer(common, 1, highest);
}

void read_head_dim(const ConfigReader& config, ModelSpec& spec) {
  spec.head_dim = config.integer_or("head_dim", spec.hidden / spec.heads, 1, kMaxHeadDim);
  if (!config.has("head_dim") && spec.hidden % spec.heads != 0) {
    fail(ExitCode::kBadInput, "{}: hidden_size {} is not a multiple of num_attention_heads {}", config.where(),
         spec.hidden, spec.heads);
  }
  spec.attention_scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
}

void read_sizes(const ConfigReader& config, ModelSpec& spec, int64_t positions, bool is_tied) {
  spec.hidden = config.integer("hidden_size", 1, kMaxHidden);
  spec.layers = config.integer("num_hidden_layers", 1, kMaxLayers);
  spec.heads = config.integer("num_attention_heads", 1, kMaxHeads);
  spec.kv_heads = config.integer_or("num_key_value_heads", spec.heads, 1, kMaxHeads);
  spec.vocab = config.integer("vocab_size", 1, kMaxVocab);
  spec.max_positions = config.integer_or("max_position_embeddings", positions, 1, kMaxPositions);
  spec.tied_head = config.flag_or("tie_word_embeddings", is_tied);
  spec.layer.resize(static_cast<size_t>(spec.layers));
}

void read_common(const ConfigReader& config, ModelSpec& spec, int64_t positions, bool is_tied) {
  read_sizes(config, spec, positions, is_tied);
  read_head_dim(config, spec);
}

void read_gpt2_sizes(const ConfigReader& config, ModelSpec& spec) {
  spec.hidden = size_named(config, "n_embd", "hidden_size", kMaxHidden);
  spec.layers = size_named(config, "n_layer", "num_hidden_layers", kMaxLayers);
  spec.heads = size_named(config, "n_head", "num_attention_heads", kMaxHeads);
  spec.kv_heads = spec.heads;
  spec.vocab = config.integer("vocab_size", 1, kMaxVocab);
  spec.max_positions = size_named(config, "n_positions", "max_position_embeddings", kMaxPositions);
  spec.mlp = config.integer_or("n_inner", 4 * spec.hidden, 1, kMaxMlp);
  read_head_dim(config, spec);
  spec.layer.resize(static_cast<size_t>(spec.layers));
}

void use_layer_norm(const ConfigReader& config, const char* eps_key, ModelSpec& spec) {
  spec.norm = NormKind::kLayer;
  spec.norm_has_bias = true;
  spec.norm_eps = config.number_or(eps_key, 1e-5, 0.0, 1.0);
}

void use_rms_norm(const ConfigReader& config, ModelSpec& spec, double fallback) {
  spec.norm = NormKind::kRms;
  spec.norm_eps = config.number_or("rms_norm_eps", fallback, 0.0, 1.0);
}

void read_mlp(const ConfigReader& config, ModelSpec& spec, const char* activation) {
  spec.mlp = config.integer("intermediate_size", 1, kMaxMlp);
  spec.activation = read_activation(config, "hidden_act", activation);
}

void set_attention_bias(ModelSpec& spec, bool has_bias) {
  spec.query_key_value_bias = has_bias;
  spec.attention_out_bias = has_bias;
}

int64_t read_window(const ConfigReader& config) { return config.integer_or("sliding_window", 0, 1, kMaxPositions); }

void set_all_windows(ModelSpec& spec, int64_t window) {
  for (LayerSpec& layer : spec.layer) layer.sliding_window = window;
}

void read_windows(const ConfigReader& config, ModelSpec& spec, int64_t window,
                  const std::function<bool(int64_t layer)>& is_sliding) {
  const bool has_types = config.has("layer_types");
  if (has_types && (!config.raw("layer_types").is_array() ||
                    static_cast<int64_t>(config.raw("layer_types").size()) != spec.layers)) {
    fail(ExitCode::kBadInput, "{}: \"layer_types\" must hold one name for each of {} layers", config.where(),
         spec.layers);
  }
  for (int64_t i = 0; i < spec.layers; ++i) {
    bool slides = is_sliding(i);
    if (has_types) {
      const Json& type = config.raw("layer_types")[static_cast<size_t>(i)];
      if (type != "sliding_attention" && type != "full_attention") {
        fail(ExitCode::kBadInput, "{}: layer type {} is not supported (sliding_attention, full_attention are)",
             config.where(), type.dump());
      }
      slides = type == "sliding_attention";
    }
    spec.layer[static_cast<size_t>(i)].sliding_window = slides ? window : 0;
  }
}

}  // namespace evalmpi::model

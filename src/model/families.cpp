#include "families.h"

#include <algorithm>
#include <cmath>

#include "evalmpi/base/error.h"

namespace evalmpi::model {
namespace {

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
  fail(ExitCode::kBadInput,
       "{}: {} \"{}\" is not supported (silu, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh and relu are)",
       config.where(), key, name);
}

// A size under the name that the family's config class stores it by, or under the common one.
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

// Sizes by the names that most config classes use; the position limit's fallback is the class's default.
void read_common(const ConfigReader& config, ModelSpec& spec, int64_t positions = 2048, bool is_tied = false) {
  spec.hidden = config.integer("hidden_size", 1, kMaxHidden);
  spec.layers = config.integer("num_hidden_layers", 1, kMaxLayers);
  spec.heads = config.integer("num_attention_heads", 1, kMaxHeads);
  spec.kv_heads = config.integer_or("num_key_value_heads", spec.heads, 1, kMaxHeads);
  spec.vocab = config.integer("vocab_size", 1, kMaxVocab);
  spec.max_positions = config.integer_or("max_position_embeddings", positions, 1, kMaxPositions);
  spec.tied_head = config.flag_or("tie_word_embeddings", is_tied);
  read_head_dim(config, spec);
  spec.layer.resize(static_cast<size_t>(spec.layers));
}

// The names of GPT-2 and its kin.
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

void use_rms_norm(const ConfigReader& config, ModelSpec& spec, double fallback = 1e-6) {
  spec.norm = NormKind::kRms;
  spec.norm_eps = config.number_or("rms_norm_eps", fallback, 0.0, 1.0);
}

void read_mlp(const ConfigReader& config, ModelSpec& spec, const char* activation = "silu") {
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

// layer_types: "sliding_attention" or "full_attention" for each layer; without it by `is_sliding(layer)`.
template <class IsSliding>
void read_windows(const ConfigReader& config, ModelSpec& spec, int64_t window, IsSliding is_sliding) {
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

void read_llama(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec);
  use_rms_norm(config, spec);
  read_mlp(config, spec);
  set_attention_bias(spec, config.flag_or("attention_bias", false));
  spec.mlp_bias = config.flag_or("mlp_bias", false);
  spec.rotaries = {read_rotary(config, spec)};
  if (spec.rotaries[0].dims != spec.head_dim) fail_setting(config, "partial_rotary_factor", "1");
}

void read_mistral(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 4096 * 32);
  use_rms_norm(config, spec);
  read_mlp(config, spec);
  spec.rotaries = {read_rotary(config, spec)};
  set_all_windows(spec, read_window(config));
}

void check_experts(const ConfigReader& config, const ModelSpec& spec) {
  if (spec.experts.per_token > spec.experts.count) {
    fail(ExitCode::kBadInput, "{}: num_experts_per_tok {} is above the number of experts {}", config.where(),
         spec.experts.per_token, spec.experts.count);
  }
}

void read_mixtral(const ConfigReader& config, ModelSpec& spec) {
  read_mistral(config, spec);
  spec.norm_eps = config.number_or("rms_norm_eps", 1e-5, 0.0, 1.0);
  spec.experts.count = config.integer("num_local_experts", 1, kMaxExperts);
  spec.experts.per_token = config.integer("num_experts_per_tok", 1, kMaxExperts);
  spec.experts.mlp = spec.mlp;
  spec.experts.renormalise = true;
  check_experts(config, spec);
  for (LayerSpec& layer : spec.layer) layer.has_experts = true;
}

// Windows of the Qwen families: only where use_sliding_window is set, and from layer max_window_layers on.
void read_qwen_windows(const ConfigReader& config, ModelSpec& spec) {
  const int64_t window = config.flag_or("use_sliding_window", false) ? read_window(config) : 0;
  const int64_t first = config.integer_or("max_window_layers", 28, 0, kMaxLayers);
  read_windows(config, spec, window, [&](int64_t layer) { return window > 0 && layer >= first; });
}

void read_qwen2(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 32768);
  use_rms_norm(config, spec);
  read_mlp(config, spec);
  spec.query_key_value_bias = true;
  spec.rotaries = {read_rotary(config, spec)};
  read_qwen_windows(config, spec);
}

void read_qwen3(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 32768);
  if (!config.has("head_dim")) {
    spec.head_dim = 128;
    spec.attention_scale = 1.0 / std::sqrt(128.0);
  }
  use_rms_norm(config, spec);
  read_mlp(config, spec);
  set_attention_bias(spec, config.flag_or("attention_bias", false));
  spec.query_key_norm = QueryKeyNorm::kHead;
  spec.rotaries = {read_rotary(config, spec)};
  read_qwen_windows(config, spec);
}

// Layers with experts: every decoder_sparse_step-th, but not those of mlp_only_layers.
void read_qwen_experts(const ConfigReader& config, ModelSpec& spec) {
  ExpertSpec& experts = spec.experts;
  experts.count = config.integer("num_experts", 0, kMaxExperts);
  experts.per_token = config.integer("num_experts_per_tok", 1, kMaxExperts);
  experts.mlp = config.integer("moe_intermediate_size", 1, kMaxMlp);
  experts.renormalise = config.flag_or("norm_topk_prob", false);
  const int64_t step = config.integer_or("decoder_sparse_step", 1, 1, kMaxLayers);
  const Json dense = config.has("mlp_only_layers") ? config.raw("mlp_only_layers") : Json::array();
  for (int64_t i = 0; i < spec.layers; ++i) {
    const bool is_dense = std::find(dense.begin(), dense.end(), Json(i)) != dense.end();
    spec.layer[static_cast<size_t>(i)].has_experts = !is_dense && experts.count > 0 && (i + 1) % step == 0;
  }
  if (experts.count > 0) check_experts(config, spec);
}

void read_qwen2_moe(const ConfigReader& config, ModelSpec& spec) {
  read_qwen2(config, spec);
  spec.query_key_value_bias = config.flag_or("qkv_bias", true);
  read_qwen_experts(config, spec);
  spec.experts.shared_mlp = config.integer("shared_expert_intermediate_size", 1, kMaxMlp);
  spec.experts.has_shared_gate = true;
}

void read_qwen3_moe(const ConfigReader& config, ModelSpec& spec) {
  read_qwen3(config, spec);
  read_qwen_experts(config, spec);
  set_all_windows(spec, config.flag_or("use_sliding_window", false) ? read_window(config) : 0);
}

void read_gpt_neox(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec);
  spec.kv_heads = spec.heads;
  use_layer_norm(config, "layer_norm_eps", spec);
  spec.parallel_residual = config.flag_or("use_parallel_residual", true);
  set_attention_bias(spec, config.flag_or("attention_bias", true));
  read_mlp(config, spec, "gelu");
  spec.gated_mlp = false;
  spec.mlp_bias = true;
  spec.rotaries = {read_rotary(config, spec, 0.25, "rotary_emb_base", "rotary_pct")};
}

void use_learned_positions(ModelSpec& spec, int64_t offset) {
  spec.learned_positions = spec.max_positions + offset;
  spec.learned_position_offset = offset;
  for (LayerSpec& layer : spec.layer) layer.rotary = -1;
}

void read_gpt2(const ConfigReader& config, ModelSpec& spec) {
  read_gpt2_sizes(config, spec);
  use_layer_norm(config, "layer_norm_epsilon", spec);
  set_attention_bias(spec, true);
  spec.activation = read_activation(config, "activation_function", "gelu_new");
  spec.gated_mlp = false;
  spec.mlp_bias = true;
  spec.tied_head = config.flag_or("tie_word_embeddings", true);
  use_learned_positions(spec, 0);
  if (!config.flag_or("scale_attn_weights", true)) spec.attention_scale = 1;
  if (config.flag_or("scale_attn_by_inverse_layer_idx", false)) {
    fail_setting(config, "scale_attn_by_inverse_layer_idx", "false");
  }
}

void read_gpt_bigcode(const ConfigReader& config, ModelSpec& spec) {
  read_gpt2(config, spec);
  spec.activation = read_activation(config, "activation_function", "gelu_pytorch_tanh");
  if (config.flag_or("multi_query", true)) spec.kv_heads = 1;
}

void read_gptj(const ConfigReader& config, ModelSpec& spec) {
  read_gpt2_sizes(config, spec);
  use_layer_norm(config, "layer_norm_epsilon", spec);
  spec.parallel_residual = true;
  spec.parallel_shares_norm = true;
  spec.activation = read_activation(config, "activation_function", "gelu_new");
  spec.gated_mlp = false;
  spec.mlp_bias = true;
  spec.head_bias = true;
  spec.tied_head = config.flag_or("tie_word_embeddings", false);
  RotarySpec rotary;
  rotary.dims = config.integer_or("rotary_dim", spec.head_dim, 2, spec.head_dim);
  if (rotary.dims % 2 != 0) fail_setting(config, "rotary_dim", "an even number");
  rotary.is_interleaved = true;
  spec.rotaries = {rotary};
}

void read_opt(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 2048, true);
  use_layer_norm(config, "layer_norm_eps", spec);
  if (!config.flag_or("do_layer_norm_before", true)) fail_setting(config, "do_layer_norm_before", "true");
  if (config.flag_or("_remove_final_layer_norm", false)) fail_setting(config, "_remove_final_layer_norm", "false");
  if (!config.flag_or("layer_norm_elementwise_affine", true)) {
    fail_setting(config, "layer_norm_elementwise_affine", "true");
  }
  if (config.integer_or("word_embed_proj_dim", spec.hidden, 1, kMaxHidden) != spec.hidden) {
    fail_setting(config, "word_embed_proj_dim", "hidden_size");
  }
  const bool has_bias = config.flag_or("enable_bias", true);
  set_attention_bias(spec, has_bias);
  spec.mlp = config.integer("ffn_dim", 1, kMaxMlp);
  spec.activation = read_activation(config, "activation_function", "relu");
  spec.gated_mlp = false;
  spec.mlp_bias = has_bias;
  use_learned_positions(spec, 2);
}

void read_bloom(const ConfigReader& config, ModelSpec& spec) {
  spec.hidden = size_named(config, config.has("n_embed") ? "n_embed" : "hidden_size", "hidden_size", kMaxHidden);
  spec.layers = size_named(config, "n_layer", "num_hidden_layers", kMaxLayers);
  spec.heads = size_named(config, "n_head", "num_attention_heads", kMaxHeads);
  spec.kv_heads = spec.heads;
  spec.vocab = config.integer("vocab_size", 1, kMaxVocab);
  spec.max_positions = config.integer_or("seq_length", 2048, 1, kMaxPositions);
  spec.mlp = 4 * spec.hidden;
  read_head_dim(config, spec);
  spec.layer.resize(static_cast<size_t>(spec.layers));
  use_layer_norm(config, "layer_norm_epsilon", spec);
  if (config.flag_or("apply_residual_connection_post_layernorm", false)) {
    fail_setting(config, "apply_residual_connection_post_layernorm", "false");
  }
  set_attention_bias(spec, true);
  spec.activation = Activation::kGeluTanh;
  spec.gated_mlp = false;
  spec.mlp_bias = true;
  spec.embedding_norm = true;
  spec.alibi = Alibi::kExact;
  spec.tied_head = config.flag_or("tie_word_embeddings", true);
  for (LayerSpec& layer : spec.layer) layer.rotary = -1;
}

void read_falcon(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 2048, true);
  const bool is_new = config.flag_or("new_decoder_architecture", false);
  const bool is_parallel = config.flag_or("parallel_attn", true);
  if (is_new && !is_parallel) fail_setting(config, "parallel_attn", "true with new_decoder_architecture");
  spec.kv_heads = is_new                                    ? config.integer_or("num_kv_heads", spec.heads, 1, kMaxHeads)
                  : config.flag_or("multi_query", true) ? 1
                                                            : spec.heads;
  use_layer_norm(config, "layer_norm_epsilon", spec);
  spec.parallel_residual = is_parallel;
  spec.parallel_shares_norm = is_parallel && config.integer_or("num_ln_in_parallel_attn", is_new ? 2 : 1, 1, 2) == 1;
  const bool has_bias = config.flag_or("bias", false);
  set_attention_bias(spec, has_bias);
  spec.mlp = config.integer_or("ffn_hidden_size", 4 * spec.hidden, 1, kMaxMlp);
  spec.activation = read_activation(config, "activation", "gelu");
  spec.gated_mlp = false;
  spec.mlp_bias = has_bias;
  if (config.flag_or("alibi", false)) {
    spec.alibi = Alibi::kBFloat16;
    for (LayerSpec& layer : spec.layer) layer.rotary = -1;
  } else {
    spec.rotaries = {read_rotary(config, spec)};
  }
}

void read_phi(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec);
  use_layer_norm(config, "layer_norm_eps", spec);
  if (config.flag_or("qk_layernorm", false)) fail_setting(config, "qk_layernorm", "false");
  spec.parallel_residual = true;
  spec.parallel_shares_norm = true;
  set_attention_bias(spec, true);
  read_mlp(config, spec, "gelu_new");
  spec.gated_mlp = false;
  spec.mlp_bias = true;
  spec.head_bias = true;
  spec.rotaries = {read_rotary(config, spec, 0.5)};
}

void read_phi3(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 4096);
  use_rms_norm(config, spec, 1e-5);
  read_mlp(config, spec);
  spec.rotaries = {read_rotary(config, spec)};
  set_all_windows(spec, read_window(config));
}

void use_gemma_norms(const ConfigReader& config, ModelSpec& spec) {
  use_rms_norm(config, spec);
  spec.norm_weight_offset = 1;
  // The scale is a float32 tensor in the reference.
  spec.embedding_scale = static_cast<double>(static_cast<float>(std::sqrt(static_cast<double>(spec.hidden))));
}

void read_gemma(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 8192, true);
  if (!config.has("head_dim")) spec.head_dim = 256;
  spec.attention_scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
  use_gemma_norms(config, spec);
  read_mlp(config, spec, "gelu_pytorch_tanh");
  set_attention_bias(spec, config.flag_or("attention_bias", false));
  spec.rotaries = {read_rotary(config, spec)};
}

// What Gemma 2 and 3 have in common.
void read_later_gemma(const ConfigReader& config, ModelSpec& spec, int64_t positions) {
  read_gemma(config, spec);
  spec.max_positions = config.integer_or("max_position_embeddings", positions, 1, kMaxPositions);
  spec.activation = read_activation(config, "hidden_activation", "gelu_pytorch_tanh");
  spec.norm_after = true;
  spec.attention_scale = 1.0 / std::sqrt(config.number_or("query_pre_attn_scalar", 256, 1e-6, 1e9));
}

void read_gemma2(const ConfigReader& config, ModelSpec& spec) {
  read_later_gemma(config, spec, 8192);
  // A null means none; what is not there at all is the class's default.
  spec.attention_soft_cap =
      config.mentions("attn_logit_softcapping") ? config.number_or("attn_logit_softcapping", 0.0, 0.0, 1e6) : 50.0;
  spec.logit_soft_cap =
      config.mentions("final_logit_softcapping") ? config.number_or("final_logit_softcapping", 0.0, 0.0, 1e6) : 30.0;
  read_windows(config, spec, config.integer_or("sliding_window", 4096, 1, kMaxPositions),
               [](int64_t layer) { return (layer + 1) % 2 != 0; });
}

// Windowed layers have rotary positions of their own, without scaling.
void read_gemma3(const ConfigReader& config, ModelSpec& spec) {
  read_later_gemma(config, spec, 131072);
  spec.query_key_norm = QueryKeyNorm::kHead;
  spec.attention_soft_cap = config.number_or("attn_logit_softcapping", 0.0, 0.0, 1e6);
  spec.logit_soft_cap = config.number_or("final_logit_softcapping", 0.0, 0.0, 1e6);
  if (config.flag_or("use_bidirectional_attention", false)) {
    fail_setting(config, "use_bidirectional_attention", "false");
  }
  const int64_t pattern = config.integer_or(
      "sliding_window_pattern", config.integer_or("_sliding_window_pattern", 6, 1, kMaxLayers), 1, kMaxLayers);
  read_windows(config, spec, config.integer_or("sliding_window", 4096, 1, kMaxPositions),
               [&](int64_t layer) { return (layer + 1) % pattern != 0; });
  if (!config.has("rope_theta")) spec.rotaries[0].theta = 1e6;
  RotarySpec local;
  local.theta = config.number_or("rope_local_base_freq", 10000.0, 1.0, 1e30);
  local.dims = spec.head_dim;
  spec.rotaries.push_back(local);
  for (LayerSpec& layer : spec.layer) layer.rotary = layer.sliding_window > 0 ? 1 : 0;
}

void read_olmo(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec);
  spec.norm = NormKind::kLayer;
  spec.norm_has_weight = false;
  spec.norm_eps = 1e-5;
  read_mlp(config, spec);
  set_attention_bias(spec, config.flag_or("attention_bias", false));
  spec.query_key_value_clip = config.number_or("clip_qkv", 0.0, 0.0, 1e9);
  spec.rotaries = {read_rotary(config, spec)};
}

void read_olmo2(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec);
  use_rms_norm(config, spec, 1e-5);
  read_mlp(config, spec);
  set_attention_bias(spec, config.flag_or("attention_bias", false));
  spec.norm_before = false;
  spec.norm_after = true;
  spec.query_key_norm = QueryKeyNorm::kAll;
  spec.rotaries = {read_rotary(config, spec)};
}

void read_stablelm(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 4096);
  use_layer_norm(config, "layer_norm_eps", spec);
  if (config.flag_or("qk_layernorm", false)) fail_setting(config, "qk_layernorm", "false");
  spec.parallel_residual = config.flag_or("use_parallel_residual", false);
  spec.parallel_shares_norm = spec.parallel_residual;
  spec.query_key_value_bias = config.flag_or("use_qkv_bias", false);
  read_mlp(config, spec);
  spec.rotaries = {read_rotary(config, spec, 0.25)};
}

void read_starcoder2(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 4096, true);
  use_layer_norm(config, "norm_epsilon", spec);
  const bool has_bias = config.flag_or("use_bias", true);
  set_attention_bias(spec, has_bias);
  read_mlp(config, spec, "gelu_pytorch_tanh");
  spec.gated_mlp = false;
  spec.mlp_bias = has_bias;
  spec.rotaries = {read_rotary(config, spec)};
  set_all_windows(spec, read_window(config));
}

void read_cohere(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 8192, true);
  use_layer_norm(config, "layer_norm_eps", spec);
  spec.norm_has_bias = false;
  spec.parallel_residual = true;
  spec.parallel_shares_norm = true;
  set_attention_bias(spec, config.flag_or("attention_bias", false));
  read_mlp(config, spec);
  if (config.flag_or("use_qk_norm", false)) spec.query_key_norm = QueryKeyNorm::kEachHead;
  spec.logit_scale = config.number_or("logit_scale", 0.0625, 0.0, 1e6);
  spec.rotaries = {read_rotary(config, spec)};
  spec.rotaries[0].is_interleaved = true;
}

// Rotary positions in the windowed layers only; none in the others.
void read_cohere2(const ConfigReader& config, ModelSpec& spec) {
  read_cohere(config, spec);
  const int64_t pattern = config.integer_or("sliding_window_pattern", 4, 1, kMaxLayers);
  read_windows(config, spec, config.integer_or("sliding_window", 4096, 1, kMaxPositions),
               [&](int64_t layer) { return (layer + 1) % pattern != 0; });
  for (LayerSpec& layer : spec.layer) layer.rotary = layer.sliding_window > 0 ? 0 : -1;
}

void read_granite(const ConfigReader& config, ModelSpec& spec) {
  read_llama(config, spec);
  spec.embedding_scale = config.number_or("embedding_multiplier", 1.0, 0.0, 1e6);
  spec.residual_scale = config.number_or("residual_multiplier", 1.0, 0.0, 1e6);
  spec.attention_scale = config.number_or("attention_multiplier", 1.0, 0.0, 1e6);
  spec.logit_scale = 1.0 / config.number_or("logits_scaling", 1.0, 1e-6, 1e6);
}

void read_smollm3(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 32768, true);
  use_rms_norm(config, spec);
  read_mlp(config, spec);
  set_attention_bias(spec, config.flag_or("attention_bias", false));
  spec.mlp_bias = config.flag_or("mlp_bias", false);
  spec.rotaries = {read_rotary(config, spec)};
  if (!config.has("rope_theta")) spec.rotaries[0].theta = 2000000.0;
  const int64_t interval = config.integer_or("no_rope_layer_interval", 4, 1, kMaxLayers);
  const Json listed = config.has("no_rope_layers") ? config.raw("no_rope_layers") : Json(nullptr);
  if (!listed.is_null() && (!listed.is_array() || static_cast<int64_t>(listed.size()) != spec.layers)) {
    fail_setting(config, "no_rope_layers", "a list with one number for each layer");
  }
  for (int64_t i = 0; i < spec.layers; ++i) {
    const bool rotates = listed.is_null() ? (i + 1) % interval != 0 : listed[static_cast<size_t>(i)] != 0;
    spec.layer[static_cast<size_t>(i)].rotary = rotates ? 0 : -1;
  }
  const int64_t window = config.flag_or("use_sliding_window", false) ? read_window(config) : 0;
  read_windows(config, spec, window, [&](int64_t layer) {
    return window > 0 && spec.layer[static_cast<size_t>(layer)].rotary < 0;
  });
}

constexpr FamilyReader kFamilies[] = {
    {"LlamaForCausalLM", "llama", read_llama},
    {"MistralForCausalLM", "mistral", read_mistral},
    {"MixtralForCausalLM", "mixtral", read_mixtral},
    {"Qwen2ForCausalLM", "qwen2", read_qwen2},
    {"Qwen2MoeForCausalLM", "qwen2_moe", read_qwen2_moe},
    {"Qwen3ForCausalLM", "qwen3", read_qwen3},
    {"Qwen3MoeForCausalLM", "qwen3_moe", read_qwen3_moe},
    {"GPTNeoXForCausalLM", "gpt_neox", read_gpt_neox},
    {"GPT2LMHeadModel", "gpt2", read_gpt2},
    {"GPTJForCausalLM", "gptj", read_gptj},
    {"GPTBigCodeForCausalLM", "gpt_bigcode", read_gpt_bigcode},
    {"OPTForCausalLM", "opt", read_opt},
    {"BloomForCausalLM", "bloom", read_bloom},
    {"FalconForCausalLM", "falcon", read_falcon},
    {"PhiForCausalLM", "phi", read_phi},
    {"Phi3ForCausalLM", "phi3", read_phi3},
    {"GemmaForCausalLM", "gemma", read_gemma},
    {"Gemma2ForCausalLM", "gemma2", read_gemma2},
    {"Gemma3ForCausalLM", "gemma3_text", read_gemma3},
    {"OlmoForCausalLM", "olmo", read_olmo},
    {"Olmo2ForCausalLM", "olmo2", read_olmo2},
    {"StableLmForCausalLM", "stablelm", read_stablelm},
    {"Starcoder2ForCausalLM", "starcoder2", read_starcoder2},
    {"CohereForCausalLM", "cohere", read_cohere},
    {"Cohere2ForCausalLM", "cohere2", read_cohere2},
    {"GraniteForCausalLM", "granite", read_granite},
    {"SmolLM3ForCausalLM", "smollm3", read_smollm3},
};

}  // namespace

std::span<const FamilyReader> family_readers() { return kFamilies; }

}  // namespace evalmpi::model

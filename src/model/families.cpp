#include "families.h"

#include <algorithm>
#include <cmath>

#include "evalmpi/base/error.h"
#include "family_fields.h"
#include "family_readers.h"

namespace evalmpi::model {

using ops::Activation;

void read_llama(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec);
  use_rms_norm(config, spec);
  read_mlp(config, spec);
  set_attention_bias(spec, config.flag_or("attention_bias", false));
  spec.mlp_bias = config.flag_or("mlp_bias", false);
  spec.rotaries = {read_rotary(config, spec)};
  if (spec.rotaries[0].dims != spec.head_dim) fail_setting(config, "partial_rotary_factor", "1");
}

void read_granite(const ConfigReader& config, ModelSpec& spec) {
  read_llama(config, spec);
  spec.embedding_scale = config.number_or("embedding_multiplier", 1.0, 0.0, 1e6);
  spec.residual_scale = config.number_or("residual_multiplier", 1.0, 0.0, 1e6);
  spec.attention_scale = config.number_or("attention_multiplier", 1.0, 0.0, 1e6);
  spec.logit_scale = 1.0 / config.number_or("logits_scaling", 1.0, 1e-6, 1e6);
}

void read_mistral(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 4096 * 32);
  use_rms_norm(config, spec);
  read_mlp(config, spec);
  spec.rotaries = {read_rotary(config, spec)};
  set_all_windows(spec, read_window(config));
}

namespace {

// Windows of the Qwen families: only where use_sliding_window is set, and from layer max_window_layers on.
void read_qwen_windows(const ConfigReader& config, ModelSpec& spec) {
  const int64_t window = config.flag_or("use_sliding_window", false) ? read_window(config) : 0;
  const int64_t first = config.integer_or("max_window_layers", 28, 0, kMaxLayers);
  read_windows(config, spec, window, [&](int64_t layer) { return window > 0 && layer >= first; });
}

}  // namespace

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

namespace {

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

// OLMo 2 with windows; windowed layers have rotary positions without scaling.
void read_olmo3(const ConfigReader& config, ModelSpec& spec) {
  read_olmo2(config, spec);
  read_windows(config, spec, config.integer_or("sliding_window", 4096, 1, kMaxPositions),
               [](int64_t layer) { return (layer + 1) % 4 != 0; });
  RotarySpec local;
  local.theta = spec.rotaries[0].theta;
  local.dims = spec.rotaries[0].dims;
  spec.rotaries.push_back(local);
  for (LayerSpec& layer : spec.layer) layer.rotary = layer.sliding_window > 0 ? 1 : 0;
}

void read_stablelm(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 4096);
  use_layer_norm(config, "layer_norm_eps", spec);
  if (config.flag_or("qk_layernorm", false)) spec.query_key_norm = QueryKeyNorm::kEachHead;
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
  read_windows(config, spec, window,
               [&](int64_t layer) { return window > 0 && spec.layer[static_cast<size_t>(layer)].rotary < 0; });
}

void read_glm(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 131072);
  use_rms_norm(config, spec, 1.5625e-07);
  read_mlp(config, spec);
  spec.query_key_value_bias = config.flag_or("attention_bias", true);
  spec.rotaries = {read_rotary(config, spec, 0.5)};
  spec.rotaries[0].is_interleaved = true;
}

void read_glm4(const ConfigReader& config, ModelSpec& spec) {
  read_glm(config, spec);
  spec.norm_after = true;
}

void read_ernie(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 131072, true);
  use_rms_norm(config, spec, 1e-5);
  read_mlp(config, spec);
  spec.mlp_bias = config.flag_or("use_bias", false);
  set_attention_bias(spec, spec.mlp_bias);
  spec.rotaries = {read_rotary(config, spec)};
  spec.rotaries[0].is_interleaved = true;
}

void read_helium(const ConfigReader& config, ModelSpec& spec) {
  read_llama(config, spec);
  spec.attention_out_bias = false;
  spec.norm_eps = config.number_or("rms_norm_eps", 1e-8, 0.0, 1.0);
  spec.rotaries[0].is_interleaved = true;
}

void read_seed_oss(const ConfigReader& config, ModelSpec& spec) {
  read_llama(config, spec);
  spec.query_key_value_bias = config.flag_or("attention_bias", true);
  spec.attention_out_bias = config.flag_or("attention_out_bias", false);
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
    {"Olmo3ForCausalLM", "olmo3", read_olmo3},
    {"StableLmForCausalLM", "stablelm", read_stablelm},
    {"Starcoder2ForCausalLM", "starcoder2", read_starcoder2},
    {"CohereForCausalLM", "cohere", read_cohere},
    {"Cohere2ForCausalLM", "cohere2", read_cohere2},
    {"GraniteForCausalLM", "granite", read_granite},
    {"SmolLM3ForCausalLM", "smollm3", read_smollm3},
    {"OlmoeForCausalLM", "olmoe", read_olmoe},
    {"GraniteMoeForCausalLM", "granitemoe", read_granite_moe},
    {"GlmForCausalLM", "glm", read_glm},
    {"Glm4ForCausalLM", "glm4", read_glm4},
    {"Ernie4_5ForCausalLM", "ernie4_5", read_ernie},
    {"HeliumForCausalLM", "helium", read_helium},
    {"SeedOssForCausalLM", "seed_oss", read_seed_oss},
    {"GptOssForCausalLM", "gpt_oss", read_gpt_oss, true},
    {"DeepseekV2ForCausalLM", "deepseek_v2", read_deepseek_v2},
    {"DeepseekV3ForCausalLM", "deepseek_v3", read_deepseek_v3},
};

}  // namespace

std::span<const FamilyReader> family_readers() { return kFamilies; }

}  // namespace evalmpi::model

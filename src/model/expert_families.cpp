#include <algorithm>
#include <cmath>
#include <string>

#include "evalmpi/base/error.h"
#include "families.h"
#include "family_fields.h"
#include "family_readers.h"
#include "mxfp4.h"

namespace evalmpi::model {
namespace {

void check_experts(const ConfigReader& config, const ModelSpec& spec) {
  if (spec.experts.per_token > spec.experts.count) {
    fail(ExitCode::kBadInput, "{}: num_experts_per_tok {} is above the number of experts {}", config.where(),
         spec.experts.per_token, spec.experts.count);
  }
}

void put_experts_everywhere(ModelSpec& spec) {
  for (LayerSpec& layer : spec.layer) layer.has_experts = true;
}

// Experts in every layer, as wide as the MLP.
void read_mixtral_experts(const ConfigReader& config, ModelSpec& spec) {
  spec.experts.count = config.integer("num_local_experts", 1, kMaxExperts);
  spec.experts.per_token = config.integer("num_experts_per_tok", 1, kMaxExperts);
  spec.experts.mlp = spec.mlp;
  spec.experts.renormalise = true;
  check_experts(config, spec);
  put_experts_everywhere(spec);
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

// The gpt-oss files say themselves that their experts are in MXFP4.
bool has_mxfp4(const ConfigReader& config) {
  return config.has("quantization_config") &&
         config.object("quantization_config").text_or("quant_method", "") == "mxfp4";
}

// Latent attention: 1 / sqrt(H), times the square of yarn's scale for all dimensions, which cosines and sines leave
// out.
void read_latent(const ConfigReader& config, ModelSpec& spec) {
  LatentSpec& latent = spec.latent;
  latent.key_value_rank = config.integer("kv_lora_rank", 1, kMaxHidden);
  latent.query_rank = config.integer_or("q_lora_rank", 0, 1, kMaxHidden);
  latent.rotary_dim = config.integer("qk_rope_head_dim", 2, kMaxHeadDim);
  latent.value_dim = config.integer("v_head_dim", 1, kMaxHeadDim);
  const int64_t own = config.integer("qk_nope_head_dim", 1, kMaxHeadDim);
  if (spec.kv_heads != spec.heads) fail_setting(config, "num_key_value_heads", "num_attention_heads");
  spec.head_dim = latent.rotary_dim;
  RotarySpec rotary = read_rotary(config, spec);
  rotary.first = own;
  rotary.is_interleaved = config.flag_or("rope_interleave", true);
  spec.rotaries = {rotary};
  spec.head_dim = own + latent.rotary_dim;
  spec.attention_scale = rotary.score_scale / std::sqrt(static_cast<double>(spec.head_dim));
}

// What both have; a router's own settings follow.
void read_deepseek(const ConfigReader& config, ModelSpec& spec) {
  read_sizes(config, spec);
  use_rms_norm(config, spec);
  read_mlp(config, spec);
  read_latent(config, spec);
  spec.attention_out_bias = config.flag_or("attention_bias", false);
  if (config.flag_or("mlp_bias", false)) fail_setting(config, "mlp_bias", "false");
  ExpertSpec& experts = spec.experts;
  experts.mlp = config.integer("moe_intermediate_size", 1, kMaxMlp);
  experts.count = config.integer("n_routed_experts", 1, kMaxExperts);
  experts.per_token = config.integer("num_experts_per_tok", 1, kMaxExperts);
  experts.shared_mlp = experts.mlp * config.integer_or("n_shared_experts", 0, 0, 64);
  experts.scale = config.number_or("routed_scaling_factor", 1.0, 0.0, 1e6);
  check_experts(config, spec);
  const int64_t dense = config.integer_or("first_k_dense_replace", 0, 0, kMaxLayers);
  for (int64_t i = dense; i < spec.layers; ++i) spec.layer[static_cast<size_t>(i)].has_experts = true;
}

void read_groups(const ConfigReader& config, ModelSpec& spec, int64_t best) {
  ExpertSpec& experts = spec.experts;
  experts.groups = config.integer_or("n_group", 1, 1, kMaxExperts);
  experts.groups_per_token = config.integer_or("topk_group", 1, 1, kMaxExperts);
  experts.group_best = experts.groups == 1 ? 1 : best;
  if (experts.count % experts.groups != 0 || experts.groups_per_token > experts.groups ||
      experts.group_best > experts.count / experts.groups) {
    fail(ExitCode::kBadInput, "{}: {} of {} groups (n_group, topk_group) of {} experts cannot be", config.where(),
         experts.groups_per_token, experts.groups, experts.count);
  }
}

}  // namespace

void read_mixtral(const ConfigReader& config, ModelSpec& spec) {
  read_mistral(config, spec);
  spec.norm_eps = config.number_or("rms_norm_eps", 1e-5, 0.0, 1.0);
  read_mixtral_experts(config, spec);
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

void read_olmoe(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 4096);
  use_rms_norm(config, spec, 1e-5);
  read_mlp(config, spec);
  set_attention_bias(spec, config.flag_or("attention_bias", false));
  if (config.has("clip_qkv")) fail_setting(config, "clip_qkv", "null");
  spec.query_key_norm = QueryKeyNorm::kAll;
  spec.rotaries = {read_rotary(config, spec)};
  spec.experts.count = config.integer("num_experts", 1, kMaxExperts);
  spec.experts.per_token = config.integer("num_experts_per_tok", 1, kMaxExperts);
  spec.experts.mlp = spec.mlp;
  spec.experts.renormalise = config.flag_or("norm_topk_prob", false);
  check_experts(config, spec);
  put_experts_everywhere(spec);
}

void read_granite_moe(const ConfigReader& config, ModelSpec& spec) {
  read_granite(config, spec);
  read_mixtral_experts(config, spec);
}

// The gate is at most 7, up between -7 and 7; silu with the factor 1.702 of the gate times (up + 1).
void read_gpt_oss(const ConfigReader& config, ModelSpec& spec) {
  read_common(config, spec, 131072);
  use_rms_norm(config, spec, 1e-5);
  read_mlp(config, spec);
  if (spec.activation != ops::Activation::kSilu) fail_setting(config, "hidden_act", "silu");
  spec.activation = ops::Activation::kQuickGelu;
  spec.gate_limit = config.number_or("swiglu_limit", 7.0, 1e-6, 1e6);
  spec.up_offset = 1;
  set_attention_bias(spec, config.flag_or("attention_bias", true));
  spec.attention_sinks = true;
  read_windows(config, spec, config.integer_or("sliding_window", 128, 1, kMaxPositions),
               [](int64_t layer) { return layer % 2 == 0; });
  read_mixtral_experts(config, spec);
  spec.experts.router_bias = true;
  spec.experts.bias = true;
  spec.experts.is_mxfp4 = has_mxfp4(config);
  if (spec.experts.is_mxfp4 && (spec.hidden % kMxfp4Block != 0 || spec.experts.mlp % kMxfp4Block != 0)) {
    fail(ExitCode::kBadInput, "{}: hidden_size {} and intermediate_size {} must be multiples of {} in MXFP4",
         config.where(), spec.hidden, spec.experts.mlp, kMxfp4Block);
  }
  spec.rotaries = {read_rotary(config, spec)};
}

void read_deepseek_v2(const ConfigReader& config, ModelSpec& spec) {
  read_deepseek(config, spec);
  spec.rotaries[0].is_interleaved = true;
  if (config.flag_or("norm_topk_prob", false)) fail_setting(config, "norm_topk_prob", "false");
  const std::string method = config.text_or("topk_method", "greedy");
  if (method == "group_limited_greedy") {
    read_groups(config, spec, 1);
  } else if (method != "greedy") {
    fail_setting(config, "topk_method", "greedy or group_limited_greedy");
  }
}

void read_deepseek_v3(const ConfigReader& config, ModelSpec& spec) {
  read_deepseek(config, spec);
  read_groups(config, spec, 2);
  spec.experts.is_sigmoid = true;
  spec.experts.router_correction = true;
  spec.experts.renormalise = config.flag_or("norm_topk_prob", true);
}

}  // namespace evalmpi::model

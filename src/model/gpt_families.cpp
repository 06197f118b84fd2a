#include "evalmpi/base/error.h"
#include "families.h"
#include "family_fields.h"
#include "family_readers.h"

namespace evalmpi::model {
namespace {

using ops::Activation;

void use_learned_positions(ModelSpec& spec, int64_t offset) {
  spec.learned_positions = spec.max_positions + offset;
  spec.learned_position_offset = offset;
  for (LayerSpec& layer : spec.layer) layer.rotary = -1;
}

}  // namespace

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
  if (!config.flag_or("do_layer_norm_before", true)) {
    spec.norm_before = false;
    spec.norm_of_sum = true;
  }
  spec.final_norm = spec.norm_before && !config.flag_or("_remove_final_layer_norm", false);
  if (!config.flag_or("layer_norm_elementwise_affine", true)) {
    fail_setting(config, "layer_norm_elementwise_affine", "true");
  }
  spec.embedding_width = config.integer_or("word_embed_proj_dim", spec.hidden, 1, kMaxHidden);
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
  spec.kv_heads = is_new                                ? config.integer_or("num_kv_heads", spec.heads, 1, kMaxHeads)
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

}  // namespace evalmpi::model

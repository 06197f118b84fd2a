#include "source_names.h"

#include <array>
#include <string_view>

namespace evalmpi::model {
namespace {

// Llama and all that took over its names.
constexpr SourceModule kLlamaModules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.layers.{}.self_attn.v_proj", "v_proj"},
    {Slot::kQueryNorm, "model.layers.{}.self_attn.q_norm", ""},
    {Slot::kKeyNorm, "model.layers.{}.self_attn.k_norm", ""},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
    {Slot::kMlpNorm, "model.layers.{}.post_attention_layernorm", ""},
    {Slot::kGate, "model.layers.{}.mlp.gate_proj", "gate_proj"},
    {Slot::kUp, "model.layers.{}.mlp.up_proj", "up_proj"},
    {Slot::kDown, "model.layers.{}.mlp.down_proj", "down_proj"},
    {Slot::kRouter, "model.layers.{}.mlp.gate", ""},
    {Slot::kExpertGate, "model.layers.{}.mlp.experts.{}.gate_proj", "gate_proj"},
    {Slot::kExpertUp, "model.layers.{}.mlp.experts.{}.up_proj", "up_proj"},
    {Slot::kExpertDown, "model.layers.{}.mlp.experts.{}.down_proj", "down_proj"},
    {Slot::kSharedRouter, "model.layers.{}.mlp.shared_expert_gate", ""},
    {Slot::kSharedGate, "model.layers.{}.mlp.shared_expert.gate_proj", "gate_proj"},
    {Slot::kSharedUp, "model.layers.{}.mlp.shared_expert.up_proj", "up_proj"},
    {Slot::kSharedDown, "model.layers.{}.mlp.shared_expert.down_proj", "down_proj"},
    {Slot::kFinalNorm, "model.norm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kMixtralModules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.layers.{}.self_attn.v_proj", "v_proj"},
    {Slot::kQueryNorm, "model.layers.{}.self_attn.q_norm", ""},
    {Slot::kKeyNorm, "model.layers.{}.self_attn.k_norm", ""},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
    {Slot::kMlpNorm, "model.layers.{}.post_attention_layernorm", ""},
    {Slot::kRouter, "model.layers.{}.block_sparse_moe.gate", ""},
    {Slot::kExpertGate, "model.layers.{}.block_sparse_moe.experts.{}.w1", "w1"},
    {Slot::kExpertUp, "model.layers.{}.block_sparse_moe.experts.{}.w3", "w3"},
    {Slot::kExpertDown, "model.layers.{}.block_sparse_moe.experts.{}.w2", "w2"},
    {Slot::kFinalNorm, "model.norm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

// Norms before and after each half (Gemma 2 and 3), or only after (OLMo 2).
constexpr SourceModule kSandwichModules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.layers.{}.self_attn.v_proj", "v_proj"},
    {Slot::kQueryNorm, "model.layers.{}.self_attn.q_norm", ""},
    {Slot::kKeyNorm, "model.layers.{}.self_attn.k_norm", ""},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
    {Slot::kAttentionPostNorm, "model.layers.{}.post_attention_layernorm", ""},
    {Slot::kMlpNorm, "model.layers.{}.pre_feedforward_layernorm", ""},
    {Slot::kGate, "model.layers.{}.mlp.gate_proj", "gate_proj"},
    {Slot::kUp, "model.layers.{}.mlp.up_proj", "up_proj"},
    {Slot::kDown, "model.layers.{}.mlp.down_proj", "down_proj"},
    {Slot::kMlpPostNorm, "model.layers.{}.post_feedforward_layernorm", ""},
    {Slot::kFinalNorm, "model.norm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kPhi3Modules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.qkv_proj", "qkv_proj", Fusion::kQueryKeyValue},
    {Slot::kKey, "model.layers.{}.self_attn.qkv_proj", "qkv_proj", Fusion::kQueryKeyValue},
    {Slot::kValue, "model.layers.{}.self_attn.qkv_proj", "qkv_proj", Fusion::kQueryKeyValue},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
    {Slot::kMlpNorm, "model.layers.{}.post_attention_layernorm", ""},
    {Slot::kGate, "model.layers.{}.mlp.gate_up_proj", "gate_up_proj", Fusion::kGateUp},
    {Slot::kUp, "model.layers.{}.mlp.gate_up_proj", "gate_up_proj", Fusion::kGateUp},
    {Slot::kDown, "model.layers.{}.mlp.down_proj", "down_proj"},
    {Slot::kFinalNorm, "model.norm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kPhiModules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.layers.{}.self_attn.v_proj", "v_proj"},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.dense", "dense"},
    {Slot::kUp, "model.layers.{}.mlp.fc1", "fc1"},
    {Slot::kDown, "model.layers.{}.mlp.fc2", "fc2"},
    {Slot::kFinalNorm, "model.final_layernorm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kStarcoder2Modules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.layers.{}.self_attn.v_proj", "v_proj"},
    {Slot::kQueryNorm, "model.layers.{}.self_attn.q_norm", ""},
    {Slot::kKeyNorm, "model.layers.{}.self_attn.k_norm", ""},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
    {Slot::kMlpNorm, "model.layers.{}.post_attention_layernorm", ""},
    {Slot::kUp, "model.layers.{}.mlp.c_fc", "c_fc"},
    {Slot::kDown, "model.layers.{}.mlp.c_proj", "c_proj"},
    {Slot::kFinalNorm, "model.norm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kGptNeoxModules[] = {
    {Slot::kEmbedding, "gpt_neox.embed_in", ""},
    {Slot::kAttentionNorm, "gpt_neox.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "gpt_neox.layers.{}.attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kKey, "gpt_neox.layers.{}.attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kValue, "gpt_neox.layers.{}.attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kAttentionOut, "gpt_neox.layers.{}.attention.dense", "dense"},
    {Slot::kMlpNorm, "gpt_neox.layers.{}.post_attention_layernorm", ""},
    {Slot::kUp, "gpt_neox.layers.{}.mlp.dense_h_to_4h", "dense_h_to_4h"},
    {Slot::kDown, "gpt_neox.layers.{}.mlp.dense_4h_to_h", "dense_4h_to_h"},
    {Slot::kFinalNorm, "gpt_neox.final_layer_norm", ""},
    {Slot::kHead, "embed_out", "embed_out"},
};

constexpr SourceModule kGpt2Modules[] = {
    {Slot::kEmbedding, "transformer.wte", ""},
    {Slot::kPosition, "transformer.wpe", ""},
    {Slot::kAttentionNorm, "transformer.h.{}.ln_1", ""},
    {Slot::kQuery, "transformer.h.{}.attn.c_attn", "c_attn", Fusion::kQueryKeyValue, true},
    {Slot::kKey, "transformer.h.{}.attn.c_attn", "c_attn", Fusion::kQueryKeyValue, true},
    {Slot::kValue, "transformer.h.{}.attn.c_attn", "c_attn", Fusion::kQueryKeyValue, true},
    {Slot::kAttentionOut, "transformer.h.{}.attn.c_proj", "c_proj", Fusion::kNone, true},
    {Slot::kMlpNorm, "transformer.h.{}.ln_2", ""},
    {Slot::kUp, "transformer.h.{}.mlp.c_fc", "c_fc", Fusion::kNone, true},
    {Slot::kDown, "transformer.h.{}.mlp.c_proj", "c_proj", Fusion::kNone, true},
    {Slot::kFinalNorm, "transformer.ln_f", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kBigCodeModules[] = {
    {Slot::kEmbedding, "transformer.wte", ""},
    {Slot::kPosition, "transformer.wpe", ""},
    {Slot::kAttentionNorm, "transformer.h.{}.ln_1", ""},
    {Slot::kQuery, "transformer.h.{}.attn.c_attn", "c_attn", Fusion::kPerGroup},
    {Slot::kKey, "transformer.h.{}.attn.c_attn", "c_attn", Fusion::kPerGroup},
    {Slot::kValue, "transformer.h.{}.attn.c_attn", "c_attn", Fusion::kPerGroup},
    {Slot::kAttentionOut, "transformer.h.{}.attn.c_proj", "c_proj"},
    {Slot::kMlpNorm, "transformer.h.{}.ln_2", ""},
    {Slot::kUp, "transformer.h.{}.mlp.c_fc", "c_fc"},
    {Slot::kDown, "transformer.h.{}.mlp.c_proj", "c_proj"},
    {Slot::kFinalNorm, "transformer.ln_f", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kBigCodeMultiQueryModules[] = {
    {Slot::kEmbedding, "transformer.wte", ""},
    {Slot::kPosition, "transformer.wpe", ""},
    {Slot::kAttentionNorm, "transformer.h.{}.ln_1", ""},
    {Slot::kQuery, "transformer.h.{}.attn.c_attn", "c_attn", Fusion::kQueryKeyValue},
    {Slot::kKey, "transformer.h.{}.attn.c_attn", "c_attn", Fusion::kQueryKeyValue},
    {Slot::kValue, "transformer.h.{}.attn.c_attn", "c_attn", Fusion::kQueryKeyValue},
    {Slot::kAttentionOut, "transformer.h.{}.attn.c_proj", "c_proj"},
    {Slot::kMlpNorm, "transformer.h.{}.ln_2", ""},
    {Slot::kUp, "transformer.h.{}.mlp.c_fc", "c_fc"},
    {Slot::kDown, "transformer.h.{}.mlp.c_proj", "c_proj"},
    {Slot::kFinalNorm, "transformer.ln_f", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kGptJModules[] = {
    {Slot::kEmbedding, "transformer.wte", ""},
    {Slot::kAttentionNorm, "transformer.h.{}.ln_1", ""},
    {Slot::kQuery, "transformer.h.{}.attn.q_proj", "q_proj"},
    {Slot::kKey, "transformer.h.{}.attn.k_proj", "k_proj"},
    {Slot::kValue, "transformer.h.{}.attn.v_proj", "v_proj"},
    {Slot::kAttentionOut, "transformer.h.{}.attn.out_proj", "out_proj"},
    {Slot::kUp, "transformer.h.{}.mlp.fc_in", "fc_in"},
    {Slot::kDown, "transformer.h.{}.mlp.fc_out", "fc_out"},
    {Slot::kFinalNorm, "transformer.ln_f", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kOptModules[] = {
    {Slot::kEmbedding, "model.decoder.embed_tokens", ""},
    {Slot::kProjectIn, "model.decoder.project_in", "project_in"},
    {Slot::kPosition, "model.decoder.embed_positions", ""},
    {Slot::kAttentionNorm, "model.decoder.layers.{}.self_attn_layer_norm", ""},
    {Slot::kQuery, "model.decoder.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.decoder.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.decoder.layers.{}.self_attn.v_proj", "v_proj"},
    {Slot::kAttentionOut, "model.decoder.layers.{}.self_attn.out_proj", "out_proj"},
    {Slot::kAttentionPostNorm, "model.decoder.layers.{}.self_attn_layer_norm", ""},
    {Slot::kMlpNorm, "model.decoder.layers.{}.final_layer_norm", ""},
    {Slot::kMlpPostNorm, "model.decoder.layers.{}.final_layer_norm", ""},
    {Slot::kUp, "model.decoder.layers.{}.fc1", "fc1"},
    {Slot::kDown, "model.decoder.layers.{}.fc2", "fc2"},
    {Slot::kFinalNorm, "model.decoder.final_layer_norm", ""},
    {Slot::kProjectOut, "model.decoder.project_out", "project_out"},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kBloomModules[] = {
    {Slot::kEmbedding, "transformer.word_embeddings", ""},
    {Slot::kEmbeddingNorm, "transformer.word_embeddings_layernorm", ""},
    {Slot::kAttentionNorm, "transformer.h.{}.input_layernorm", ""},
    {Slot::kQuery, "transformer.h.{}.self_attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kKey, "transformer.h.{}.self_attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kValue, "transformer.h.{}.self_attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kAttentionOut, "transformer.h.{}.self_attention.dense", "dense"},
    {Slot::kMlpNorm, "transformer.h.{}.post_attention_layernorm", ""},
    {Slot::kUp, "transformer.h.{}.mlp.dense_h_to_4h", "dense_h_to_4h"},
    {Slot::kDown, "transformer.h.{}.mlp.dense_4h_to_h", "dense_4h_to_h"},
    {Slot::kFinalNorm, "transformer.ln_f", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kFalconModules[] = {
    {Slot::kEmbedding, "transformer.word_embeddings", ""},
    {Slot::kAttentionNorm, "transformer.h.{}.input_layernorm", ""},
    {Slot::kQuery, "transformer.h.{}.self_attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kKey, "transformer.h.{}.self_attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kValue, "transformer.h.{}.self_attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kAttentionOut, "transformer.h.{}.self_attention.dense", "dense"},
    {Slot::kMlpNorm, "transformer.h.{}.post_attention_layernorm", ""},
    {Slot::kUp, "transformer.h.{}.mlp.dense_h_to_4h", "dense_h_to_4h"},
    {Slot::kDown, "transformer.h.{}.mlp.dense_4h_to_h", "dense_4h_to_h"},
    {Slot::kFinalNorm, "transformer.ln_f", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kFalconTwoNormModules[] = {
    {Slot::kEmbedding, "transformer.word_embeddings", ""},
    {Slot::kAttentionNorm, "transformer.h.{}.ln_attn", ""},
    {Slot::kQuery, "transformer.h.{}.self_attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kKey, "transformer.h.{}.self_attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kValue, "transformer.h.{}.self_attention.query_key_value", "query_key_value", Fusion::kPerGroup},
    {Slot::kAttentionOut, "transformer.h.{}.self_attention.dense", "dense"},
    {Slot::kMlpNorm, "transformer.h.{}.ln_mlp", ""},
    {Slot::kUp, "transformer.h.{}.mlp.dense_h_to_4h", "dense_h_to_4h"},
    {Slot::kDown, "transformer.h.{}.mlp.dense_4h_to_h", "dense_4h_to_h"},
    {Slot::kFinalNorm, "transformer.ln_f", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

// A norm for each head.
constexpr SourceModule kStableLmModules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.layers.{}.self_attn.v_proj", "v_proj"},
    {Slot::kQueryNorm, "model.layers.{}.self_attn.q_layernorm.norms.{}", ""},
    {Slot::kKeyNorm, "model.layers.{}.self_attn.k_layernorm.norms.{}", ""},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
    {Slot::kMlpNorm, "model.layers.{}.post_attention_layernorm", ""},
    {Slot::kGate, "model.layers.{}.mlp.gate_proj", "gate_proj"},
    {Slot::kUp, "model.layers.{}.mlp.up_proj", "up_proj"},
    {Slot::kDown, "model.layers.{}.mlp.down_proj", "down_proj"},
    {Slot::kFinalNorm, "model.norm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kGlmModules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.layers.{}.self_attn.v_proj", "v_proj"},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
    {Slot::kAttentionPostNorm, "model.layers.{}.post_self_attn_layernorm", ""},
    {Slot::kMlpNorm, "model.layers.{}.post_attention_layernorm", ""},
    {Slot::kGate, "model.layers.{}.mlp.gate_up_proj", "gate_up_proj", Fusion::kGateUp},
    {Slot::kUp, "model.layers.{}.mlp.gate_up_proj", "gate_up_proj", Fusion::kGateUp},
    {Slot::kDown, "model.layers.{}.mlp.down_proj", "down_proj"},
    {Slot::kMlpPostNorm, "model.layers.{}.post_mlp_layernorm", ""},
    {Slot::kFinalNorm, "model.norm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kGraniteMoeModules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.layers.{}.self_attn.v_proj", "v_proj"},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
    {Slot::kMlpNorm, "model.layers.{}.post_attention_layernorm", ""},
    {Slot::kRouter, "model.layers.{}.block_sparse_moe.router.layer", ""},
    {Slot::kExpertGate, "model.layers.{}.block_sparse_moe.input_linear", "", Fusion::kGateUp},
    {Slot::kExpertUp, "model.layers.{}.block_sparse_moe.input_linear", "", Fusion::kGateUp},
    {Slot::kExpertDown, "model.layers.{}.block_sparse_moe.output_linear", ""},
    {Slot::kFinalNorm, "model.norm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr const char* kGptOssGateUp = "model.layers.{}.mlp.experts.gate_up_proj";

constexpr SourceModule kGptOssModules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.layers.{}.self_attn.v_proj", "v_proj"},
    {.slot = Slot::kSinks, .pattern = "model.layers.{}.self_attn.sinks", .naming = Naming::kParameter},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
    {Slot::kMlpNorm, "model.layers.{}.post_attention_layernorm", ""},
    {Slot::kRouter, "model.layers.{}.mlp.router", "", Fusion::kNone, false, Naming::kOwnModule},
    {Slot::kExpertGate, kGptOssGateUp, "", Fusion::kGateUpInTurns, true, Naming::kParameter},
    {Slot::kExpertUp, kGptOssGateUp, "", Fusion::kGateUpInTurns, true, Naming::kParameter},
    {Slot::kExpertDown, "model.layers.{}.mlp.experts.down_proj", "", Fusion::kNone, true, Naming::kParameter},
    {Slot::kFinalNorm, "model.norm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr auto deepseek_modules(const char* query, const char* query_target) {
  return std::to_array<SourceModule>({
      {Slot::kEmbedding, "model.embed_tokens", ""},
      {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
      {Slot::kQueryDown, "model.layers.{}.self_attn.q_a_proj", "q_a_proj"},
      {Slot::kQueryDownNorm, "model.layers.{}.self_attn.q_a_layernorm", ""},
      {Slot::kKeyValueDown, "model.layers.{}.self_attn.kv_a_proj_with_mqa", "kv_a_proj_with_mqa"},
      {Slot::kKeyValueDownNorm, "model.layers.{}.self_attn.kv_a_layernorm", ""},
      {Slot::kQuery, query, query_target},
      {Slot::kKey, "model.layers.{}.self_attn.kv_b_proj", "kv_b_proj", Fusion::kKeyValuePerHead},
      {Slot::kValue, "model.layers.{}.self_attn.kv_b_proj", "kv_b_proj", Fusion::kKeyValuePerHead},
      {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
      {Slot::kMlpNorm, "model.layers.{}.post_attention_layernorm", ""},
      {Slot::kGate, "model.layers.{}.mlp.gate_proj", "gate_proj"},
      {Slot::kUp, "model.layers.{}.mlp.up_proj", "up_proj"},
      {Slot::kDown, "model.layers.{}.mlp.down_proj", "down_proj"},
      {Slot::kRouter, "model.layers.{}.mlp.gate", "", Fusion::kNone, false, Naming::kOwnModule},
      {.slot = Slot::kRouterCorrection,
       .pattern = "model.layers.{}.mlp.gate.e_score_correction_bias",
       .naming = Naming::kParameter},
      {Slot::kExpertGate, "model.layers.{}.mlp.experts.{}.gate_proj", "gate_proj"},
      {Slot::kExpertUp, "model.layers.{}.mlp.experts.{}.up_proj", "up_proj"},
      {Slot::kExpertDown, "model.layers.{}.mlp.experts.{}.down_proj", "down_proj"},
      {Slot::kSharedGate, "model.layers.{}.mlp.shared_experts.gate_proj", "gate_proj"},
      {Slot::kSharedUp, "model.layers.{}.mlp.shared_experts.up_proj", "up_proj"},
      {Slot::kSharedDown, "model.layers.{}.mlp.shared_experts.down_proj", "down_proj"},
      {Slot::kFinalNorm, "model.norm", ""},
      {Slot::kHead, "lm_head", "lm_head"},
  });
}

constexpr auto kDeepseekModules = deepseek_modules("model.layers.{}.self_attn.q_b_proj", "q_b_proj");
constexpr auto kDeepseekLiteModules = deepseek_modules("model.layers.{}.self_attn.q_proj", "q_proj");

}  // namespace

std::span<const SourceModule> source_modules(const ModelSpec& spec) {
  const std::string_view family = spec.family;
  if (family == "mixtral") return kMixtralModules;
  if (family == "gemma2" || family == "gemma3_text" || family == "olmo2" || family == "olmo3") return kSandwichModules;
  if (family == "phi3") return kPhi3Modules;
  if (family == "phi") return kPhiModules;
  if (family == "starcoder2") return kStarcoder2Modules;
  if (family == "gpt_neox") return kGptNeoxModules;
  if (family == "gpt2") return kGpt2Modules;
  if (family == "gpt_bigcode" && spec.kv_heads == 1) return kBigCodeMultiQueryModules;
  if (family == "gpt_bigcode") return kBigCodeModules;
  if (family == "gptj") return kGptJModules;
  if (family == "opt") return kOptModules;
  if (family == "bloom") return kBloomModules;
  if (family == "falcon" && spec.parallel_residual && !spec.parallel_shares_norm) return kFalconTwoNormModules;
  if (family == "falcon") return kFalconModules;
  if (family == "stablelm") return kStableLmModules;
  if (family == "glm" || family == "glm4") return kGlmModules;
  if (family == "granitemoe") return kGraniteMoeModules;
  if (family == "gpt_oss") return kGptOssModules;
  if (family.starts_with("deepseek") && spec.latent.query_rank > 0) return kDeepseekModules;
  if (family.starts_with("deepseek")) return kDeepseekLiteModules;
  return kLlamaModules;
}

}  // namespace evalmpi::model

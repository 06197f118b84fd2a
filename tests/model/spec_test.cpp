#include "evalmpi/model/spec.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "fixture.h"

namespace evalmpi::model {
namespace {

const char* const kLlamaConfig = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 40, "intermediate_size": 200,
  "num_hidden_layers": 2, "num_attention_heads": 10, "num_key_value_heads": 5, "vocab_size": 211,
  "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "eos_token_id": [2, 3], "bos_token_id": 1})";

// kLlamaConfig with some fields replaced.
ModelSpec read_changed(const char* changes) {
  const TemporaryFolder folder;
  Json config = parse_json(kLlamaConfig, "test");
  config.update(parse_json(changes, "test"));
  folder.write("config.json", config.dump());
  return read_model_spec(folder.path());
}

void expect_refused(const char* changes, std::initializer_list<const char*> words) {
  expect_error(
      ExitCode::kBadInput, [&] { read_changed(changes); }, words);
}

TEST(ModelSpec, Llama) {
  const ModelSpec spec = read_changed("{}");
  EXPECT_EQ(spec.architecture, "LlamaForCausalLM");
  EXPECT_EQ(spec.head_dim, 4);
  EXPECT_EQ(spec.kv_heads, 5);
  EXPECT_EQ(spec.norm, NormKind::kRms);
  EXPECT_EQ(spec.activation, ops::Activation::kSilu);
  EXPECT_TRUE(spec.gated_mlp);
  EXPECT_EQ(spec.rotaries.at(0).dims, 4);
  EXPECT_EQ(spec.rotaries.at(0).theta, 10000.0);
  EXPECT_EQ(spec.eos_ids, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(spec.bos_id, 1);
  EXPECT_FALSE(spec.tied_head);
}

TEST(ModelSpec, FixturesAsTransformersWroteThem) {
  const ModelSpec tied = read_model_spec(fixture("llama_bf16"));
  EXPECT_TRUE(tied.tied_head);
  EXPECT_EQ(tied.source_dtype, DType::kBFloat16);
  EXPECT_EQ(tied.rotaries.at(0).scaling, RotaryScaling::kLlama3);
  EXPECT_EQ(tied.rotaries.at(0).original_max_positions, 32);
  const ModelSpec serial = read_model_spec(fixture("neox_serial"));
  EXPECT_EQ(serial.norm, NormKind::kLayer);
  EXPECT_EQ(serial.activation, ops::Activation::kGeluTanh);
  EXPECT_FALSE(serial.gated_mlp);
  EXPECT_EQ(serial.rotaries.at(0).dims, 4);
  EXPECT_EQ(serial.rotaries.at(0).scaling, RotaryScaling::kLinear);
  EXPECT_FALSE(serial.parallel_residual);
  EXPECT_FALSE(serial.query_key_value_bias || serial.attention_out_bias);
  EXPECT_TRUE(serial.mlp_bias);
  EXPECT_EQ(serial.source_dtype, DType::kFloat16);
}

TEST(ModelSpec, SpellingsOfTransformers5) {
  const ModelSpec spec = read_changed(R"({"dtype": "bfloat16", "rope_parameters": {"rope_theta": 500000.0,
      "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192}})");
  EXPECT_EQ(spec.source_dtype, DType::kBFloat16);
  EXPECT_EQ(spec.rotaries.at(0).theta, 500000.0);
  EXPECT_EQ(spec.rotaries.at(0).scaling, RotaryScaling::kLlama3);
  EXPECT_EQ(spec.rotaries.at(0).factor, 8.0);
}

TEST(ModelSpec, NullMeansMissing) {
  EXPECT_EQ(read_changed(R"({"rope_scaling": null, "head_dim": null})").rotaries.at(0).scaling, RotaryScaling::kNone);
  EXPECT_TRUE(read_changed(R"({"eos_token_id": null})").eos_ids.empty());
}

TEST(ModelSpec, ArchitectureFromModelType) {
  EXPECT_EQ(read_changed(R"({"architectures": null})").architecture, "LlamaForCausalLM");
}

TEST(ModelSpec, GenerationConfigComesFirst) {
  const TemporaryFolder folder;
  folder.write("config.json", kLlamaConfig);
  folder.write("generation_config.json", R"({"eos_token_id": [7, 8], "temperature": 0.6})");
  const ModelSpec spec = read_model_spec(folder.path());
  EXPECT_EQ(spec.eos_ids, (std::vector<int64_t>{7, 8}));
  EXPECT_EQ(spec.bos_id, 1);
  EXPECT_EQ(spec.generation_config.at("temperature").get<double>(), 0.6);
}

TEST(ModelSpec, RefusesWhatItDoesNotCompute) {
  expect_refused(R"({"architectures": ["T5ForConditionalGeneration"]})",
                 {"T5ForConditionalGeneration", "is not supported"});
  expect_refused(R"({"architectures": ["Gemma9ForCausalLM"]})", {"Gemma9ForCausalLM", "GemmaForCausalLM"});
  expect_refused(R"({"hidden_act": "mish"})", {"mish", "silu"});
  expect_refused(R"({"rope_scaling": {"rope_type": "spiral", "factor": 4.0}})", {"spiral", "llama3", "yarn"});
  expect_refused(R"({"quantization_config": {"quant_method": "gptq", "bits": 4}})", {"quantised", "GPTQ, 4 bits"});
  expect_refused(R"({"quantization_config": {"quant_method": "awq", "w_bit": 4}})", {"AWQ, 4 bits"});
  expect_refused(R"({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": true}})",
                 {"bitsandbytes, 8 bits"});
  expect_refused(R"({"quantization_config": {"quant_method": "mxfp4"}})", {"MXFP4"});
  expect_refused(R"({"quantization_config": {"quant_method": "fp8"}})", {"FP8"});
  expect_refused(R"({"quantization_config": {"quant_method": "compressed-tensors"}})", {"compressed-tensors"});
  expect_refused(R"({"compression_config": {"quant_method": null}})", {"unnamed", "compression_config"});
  expect_refused(R"({"quantization_config": "new-method"})", {"unnamed", "quantization_config"});
  expect_refused(R"({"partial_rotary_factor": 0.5})", {"partial_rotary_factor"});
}

// A family's config.json with some fields replaced.
void expect_family_refused(const char* family, const char* changes, std::initializer_list<const char*> words) {
  const TemporaryFolder folder;
  Json config =
      read_json_file(std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/families" / family / "config.json");
  config.update(parse_json(changes, "test"));
  folder.write("config.json", config.dump());
  expect_error(
      ExitCode::kBadInput, [&] { read_model_spec(folder.path()); }, words);
}

TEST(ModelSpec, RefusesExpertsAndLatentAttentionThatCannotBe) {
  expect_family_refused("gpt_oss_mxfp4", R"({"intermediate_size": 48})", {"intermediate_size 48", "32"});
  expect_family_refused("gpt_oss", R"({"quantization_config": {"quant_method": "fp8"}})", {"FP8"});
  expect_family_refused("gpt_oss", R"({"hidden_act": "relu"})", {"hidden_act", "relu"});
  expect_family_refused("gpt_oss", R"({"num_experts_per_tok": 6})", {"num_experts_per_tok 6"});
  expect_family_refused("deepseek_v2", R"({"topk_method": "noaux_tc"})", {"topk_method", "greedy"});
  expect_family_refused("deepseek_v2", R"({"norm_topk_prob": true})", {"norm_topk_prob"});
  expect_family_refused("deepseek_v2", R"({"num_key_value_heads": 5})", {"num_key_value_heads"});
  expect_family_refused("deepseek_v2", R"({"kv_lora_rank": null})", {"kv_lora_rank", "missing"});
  expect_family_refused("deepseek_v2", R"({"qk_rope_head_dim": 3})", {"3 of 3 dimensions"});
  expect_family_refused("deepseek_v3", R"({"n_group": 4})", {"of 4 groups", "6 experts"});
  expect_family_refused("deepseek_v3", R"({"topk_group": 4})", {"4 of 3 groups"});
  expect_family_refused("deepseek_v3", R"({"n_group": 6})", {"of 6 groups"});
  expect_family_refused("deepseek_v3", R"({"topk_group": 1, "num_experts_per_tok": 7})", {"num_experts_per_tok 7"});
  expect_family_refused("olmoe", R"({"clip_qkv": 4.0})", {"clip_qkv"});
}

TEST(ModelSpec, RecognisesWhatIsNoCheckpoint) {
  const TemporaryFolder folder;
  expect_error(ExitCode::kMissingInput, [&] { read_model_spec(folder.path()); }, {"no config.json"});
  folder.write("model-q8_0.gguf", "GGUF");
  expect_error(ExitCode::kBadInput, [&] { read_model_spec(folder.path()); }, {"model-q8_0.gguf", "llama.cpp"});
  const std::string file = (folder.path() / "model-q8_0.gguf").string();
  expect_error(ExitCode::kBadInput, [&] { resolve_model_folder(file); }, {"GGUF", "folder"});
}

TEST(ModelSpec, RefusesSizesThatCannotBe) {
  expect_refused(R"({"hidden_size": null})", {"hidden_size", "missing"});
  expect_refused(R"({"hidden_size": 0})", {"hidden_size"});
  expect_refused(R"({"hidden_size": -8})", {"hidden_size"});
  expect_refused(R"({"hidden_size": 1e30})", {"hidden_size"});
  expect_refused(R"({"hidden_size": "big"})", {"hidden_size"});
  expect_refused(R"({"hidden_size": 18446744073709551615})", {"hidden_size"});
  expect_refused(R"({"hidden_size": 41})", {"41", "num_attention_heads"});
  expect_refused(R"({"num_hidden_layers": 1000000})", {"num_hidden_layers"});
  expect_refused(R"({"vocab_size": 4000000000})", {"vocab_size"});
  expect_refused(R"({"num_key_value_heads": 3})", {"num_key_value_heads"});
  expect_refused(R"({"head_dim": 3})", {"even"});
  expect_refused(R"({"rms_norm_eps": -1})", {"rms_norm_eps"});
  expect_refused(R"({"attention_bias": "yes"})", {"attention_bias"});
  expect_refused(R"({"eos_token_id": ["a"]})", {"eos_token_id"});
  expect_refused(R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}})", {"low_freq_factor"});
  expect_refused(R"({"rope_scaling": [1]})", {"rope_scaling"});
}

TEST(ModelSpec, NoConfig) {
  const TemporaryFolder folder;
  expect_error(ExitCode::kMissingInput, [&] { read_model_spec(folder.path()); },
               {folder.path().c_str(), "config.json", "tokenizer.json"});
  folder.write("config.json", "{");
  expect_error(ExitCode::kBadInput, [&] { read_model_spec(folder.path()); }, {"config.json"});
  folder.write("config.json", "[1]");
  expect_error(ExitCode::kBadInput, [&] { read_model_spec(folder.path()); }, {"config.json", "object"});
}

TEST(ModelFolder, AFolderIsItself) { EXPECT_EQ(resolve_model_folder(fixture("llama").string()), fixture("llama")); }

TEST(ModelFolder, HubIdIsFoundInTheCache) {
  const TemporaryFolder cache;
  cache.write("models--org--tiny/refs/main", "0123abcd\n");
  cache.write("models--org--tiny/snapshots/0123abcd/config.json", kLlamaConfig);
  ::setenv("HF_HUB_CACHE", cache.path().c_str(), 1);
  EXPECT_EQ(resolve_model_folder("org/tiny"), cache.path() / "models--org--tiny/snapshots/0123abcd");
  expect_error(ExitCode::kMissingInput, [] { resolve_model_folder("org/other"); }, {"org/other", "models--org--other"});
  expect_error(ExitCode::kMissingInput, [] { resolve_model_folder("/no/such/folder"); }, {"/no/such/folder"});
  cache.write("models--org--gone/refs/main", "ffff");
  expect_error(ExitCode::kMissingInput, [] { resolve_model_folder("org/gone"); }, {"ffff"});
  cache.write("models--org--evil/refs/main", "../../../..");
  expect_error(ExitCode::kBadInput, [] { resolve_model_folder("org/evil"); }, {".."});
  ::unsetenv("HF_HUB_CACHE");
  cache.write("hub/models--org--tiny/refs/main", "0123abcd");
  cache.write("hub/models--org--tiny/snapshots/0123abcd/config.json", kLlamaConfig);
  ::setenv("HF_HOME", cache.path().c_str(), 1);
  EXPECT_EQ(resolve_model_folder("org/tiny"), cache.path() / "hub/models--org--tiny/snapshots/0123abcd");
  ::unsetenv("HF_HOME");
}

}  // namespace
}  // namespace evalmpi::model

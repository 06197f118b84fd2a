#pragma once

// Readers of families that the table in families.cpp names or other readers begin with.

#include "config_reader.h"
#include "evalmpi/model/spec.h"

namespace evalmpi::model {

// families.cpp
void read_llama(const ConfigReader& config, ModelSpec& spec);
void read_mistral(const ConfigReader& config, ModelSpec& spec);
void read_qwen2(const ConfigReader& config, ModelSpec& spec);
void read_qwen3(const ConfigReader& config, ModelSpec& spec);
void read_granite(const ConfigReader& config, ModelSpec& spec);

// gpt_families.cpp: the kin of GPT-2, with layer norms and no gate.
void read_gpt_neox(const ConfigReader& config, ModelSpec& spec);
void read_gpt2(const ConfigReader& config, ModelSpec& spec);
void read_gpt_bigcode(const ConfigReader& config, ModelSpec& spec);
void read_gptj(const ConfigReader& config, ModelSpec& spec);
void read_opt(const ConfigReader& config, ModelSpec& spec);
void read_bloom(const ConfigReader& config, ModelSpec& spec);
void read_falcon(const ConfigReader& config, ModelSpec& spec);
void read_phi(const ConfigReader& config, ModelSpec& spec);

// expert_families.cpp
void read_mixtral(const ConfigReader& config, ModelSpec& spec);
void read_qwen2_moe(const ConfigReader& config, ModelSpec& spec);
void read_qwen3_moe(const ConfigReader& config, ModelSpec& spec);
void read_olmoe(const ConfigReader& config, ModelSpec& spec);
void read_granite_moe(const ConfigReader& config, ModelSpec& spec);
void read_gpt_oss(const ConfigReader& config, ModelSpec& spec);
void read_deepseek_v2(const ConfigReader& config, ModelSpec& spec);
void read_deepseek_v3(const ConfigReader& config, ModelSpec& spec);

}  // namespace evalmpi::model

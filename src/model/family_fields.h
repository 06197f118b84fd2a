#pragma once

// Fields that many families' config.json share, for the readers of families.

#include <cstdint>
#include <functional>

#include "config_reader.h"
#include "evalmpi/model/spec.h"

namespace evalmpi::model {

// FAILS: kBadInput: `only` is what the setting must be.
[[noreturn]] void fail_setting(const ConfigReader& config, const char* key, const char* only);

ops::Activation read_activation(const ConfigReader& config, const char* key, const char* fallback);

// A size under the name that the family's config class stores it by, or under the common one.
int64_t size_named(const ConfigReader& config, const char* own, const char* common, int64_t highest);

void read_head_dim(const ConfigReader& config, ModelSpec& spec);

// Sizes by the names that most config classes use; the position limit's fallback is the class's default. read_sizes
// leaves out head_dim.
void read_sizes(const ConfigReader& config, ModelSpec& spec, int64_t positions = 2048, bool is_tied = false);
void read_common(const ConfigReader& config, ModelSpec& spec, int64_t positions = 2048, bool is_tied = false);

// The names of GPT-2 and its kin.
void read_gpt2_sizes(const ConfigReader& config, ModelSpec& spec);

void use_layer_norm(const ConfigReader& config, const char* eps_key, ModelSpec& spec);
void use_rms_norm(const ConfigReader& config, ModelSpec& spec, double fallback = 1e-6);

void read_mlp(const ConfigReader& config, ModelSpec& spec, const char* activation = "silu");

void set_attention_bias(ModelSpec& spec, bool has_bias);

int64_t read_window(const ConfigReader& config);
void set_all_windows(ModelSpec& spec, int64_t window);

// layer_types: "sliding_attention" or "full_attention" for each layer; without it by `is_sliding(layer)`.
void read_windows(const ConfigReader& config, ModelSpec& spec, int64_t window,
                  const std::function<bool(int64_t layer)>& is_sliding);

}  // namespace evalmpi::model

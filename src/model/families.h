#pragma once

// How each family's config.json says what a model is. Adding a family: a reader and its row here, its tensors' names in
// source_names.cpp. The kin of GPT-2 is in gpt_families.cpp, families with experts in expert_families.cpp.

#include <cstdint>
#include <span>

#include "config_reader.h"
#include "evalmpi/model/spec.h"

namespace evalmpi::model {

// No model comes near these; they keep products of sizes far from overflow.
inline constexpr int64_t kMaxHidden = 1 << 18;
inline constexpr int64_t kMaxMlp = 1 << 21;
inline constexpr int64_t kMaxLayers = 4096;
inline constexpr int64_t kMaxHeads = 1 << 14;
inline constexpr int64_t kMaxHeadDim = 1 << 13;
inline constexpr int64_t kMaxVocab = 1 << 24;
inline constexpr int64_t kMaxPositions = 1 << 24;
inline constexpr int64_t kMaxExperts = 1 << 12;
inline constexpr int64_t kMaxExpertsInAll = 1 << 17;

struct FamilyReader {
  const char* architecture;
  const char* model_type;
  void (*read)(const ConfigReader& config, ModelSpec& spec);
  bool reads_mxfp4 = false;  // weights quantised so
};

std::span<const FamilyReader> family_readers();

// What a config.json says of rotary positions, in the spellings of transformers 4 (rope_scaling) and 5
// (rope_parameters). theta_key and portion_key are the family's own names in transformers 4.
RotarySpec read_rotary(const ConfigReader& config, const ModelSpec& spec, double default_portion = 1.0,
                       const char* theta_key = "rope_theta", const char* portion_key = "partial_rotary_factor");

}  // namespace evalmpi::model

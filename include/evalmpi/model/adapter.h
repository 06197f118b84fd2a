#pragma once

// LoRA adapters as PEFT saves them: a folder with adapter_config.json and adapter_model.safetensors. They are computed
// beside the model's weights, never merged into them: y = W x + s B (A x) (arXiv:2106.09685), s = alpha / r, or
// alpha / sqrt(r) (rsLoRA, arXiv:2312.03732). With magnitudes m (DoRA, arXiv:2402.09353) row n of that is multiplied by
// m[n] / |W[n] + s B[n] A|.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "evalmpi/base/hash.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/model/tensor_table.h"

namespace evalmpi::model {

// LoRA on one module of the model's files ("model.layers.0.self_attn.q_proj"), which may hold several rows of the
// table.
struct AdapterModule {
  std::string tensors;  // names in the adapter's file begin with this, e.g. "base_model.model.lm_head"
  int64_t rank = 0;
  double scale = 1;
  bool has_magnitude = false;
};

class Adapter {
 public:
  // Reads the config and the names and shapes of all tensors. spec: of the model that it is applied to.
  // FAILS: kMissingInput when the folder lacks a file; kBadInput, naming file and setting, for kinds of adapters and
  // settings that are not LoRA as above, and naming file and tensor for tensors that are missing, unknown, or of other
  // shapes than the model asks for.
  Adapter(const std::filesystem::path& folder, const ModelSpec& spec);

  const std::filesystem::path& folder() const { return folder_; }
  const Checkpoint& file() const { return file_; }
  // Of the config and the whole file.
  const Hash128& digest() const { return digest_; }

  // nullptr: that row's module has no LoRA, or the row is no weight.
  const AdapterModule* find(const TensorRow& row) const;
  // The tensor of the adapter's file that stands for the model's own (modules_to_save, trained biases); nullptr: none.
  const std::string* replacement(const TensorRow& row) const;
  // Whether the model's one table for embedding and head is to become two.
  bool unties_head() const { return unties_head_; }

 private:
  std::filesystem::path folder_;
  Checkpoint file_;
  Hash128 digest_;
  std::map<std::string, AdapterModule> modules_;
  std::map<std::string, std::string> replacements_;  // source name -> name in the file
  bool unties_head_ = false;
};

// `spec` with the adapter in `folder` on it: what load_weights, place_memory and all others see. FAILS: as Adapter.
ModelSpec with_adapter(ModelSpec spec, const std::filesystem::path& folder);

}  // namespace evalmpi::model

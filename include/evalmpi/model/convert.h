#pragma once

// A model folder written anew: another dtype, other file sizes, the names of the full or of the bare model, an adapter
// merged into the weights.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/model/spec.h"

namespace evalmpi::model {

class Checkpoint;

// The two spellings of a family's tensors: as AutoModelForCausalLM saves them ("transformer.h.0.ln_1.weight",
// "lm_head.weight") and as the bare AutoModel does ("h.0.ln_1.weight").
class TensorNames {
 public:
  TensorNames() = default;  // of an unknown family: every name is its own full name
  // Of `spec`'s family, for a checkpoint that is bare or not, as its tensors show.
  TensorNames(const ModelSpec& spec, const Checkpoint& checkpoint);

  bool is_known_family() const { return !prefix_.empty(); }
  bool is_bare() const { return is_bare_; }
  std::string full(const std::string& name) const;  // of a tensor of the checkpoint
  std::string bare(const std::string& name) const;
  bool belongs_to_head(const std::string& name) const;

 private:
  std::string prefix_;       // "transformer."
  std::string head_prefix_;  // "lm_head."
  bool is_bare_ = false;
};

enum class NameStyle { kAsTheyAre, kFull, kBare };

struct ConvertOptions {
  std::optional<DType> dtype = {};  // of all tensors of floating point; none: as they are
  uint64_t max_shard_bytes = 5'000'000'000;
  NameStyle names = NameStyle::kAsTheyAre;
  std::filesystem::path adapter = {};  // folder of a LoRA adapter of PEFT (adapter.h); empty: none
  // Called after each tensor with the bytes written so far and in total.
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress = {};
};

struct ConvertReport {
  size_t tensors = 0;
  size_t converted = 0;               // of them: now of another dtype
  size_t merged = 0;                  // of them: changed or added by the adapter
  std::vector<std::string> left_out;  // buffers that a model computes itself, and a tied head's copy in a bare model
  std::vector<std::string> files;     // written, in order; config.json is the last
  uint64_t bytes = 0;                 // of tensors
};

// Reads `input` tensor by tensor and writes the folder `output`, in the memory of a few blocks of 4 MiB (and of one
// module's LoRA). With an adapter each tensor becomes what PEFT's merge_and_unload makes of it: summed in float32, then
// rounded to the tensor's own or the asked dtype. Where the model's head is tied to its embedding and the adapter
// changes one of them, both are written and config.json says so ("tie_word_embeddings": false). Values are rounded to
// nearest even, as torch's `.to(dtype)` does. Tensors that the family does not know are kept, known buffers (rotary
// tables, causal masks) are left out. generation_config.json, tokenizer files and chat templates are copied,
// "torch_dtype" and "dtype" of config.json follow. Every file is synced before it gets its name, config.json last: a
// folder without it is not finished. NaN and infinity in the input are kept, with a warning. On any failure the files
// written are removed again. FAILS: as Checkpoint and Adapter; kBadInput when a finite value overflows in the new dtype
// (names tensor and count), when weights are quantised and a dtype is asked for, when bare names would lose an untied
// head; as read_model_spec for a renaming of an unknown family or an adapter on one; kCannotWrite when `output` exists
// and is not an empty folder; kIo when it does not fit the disk.
ConvertReport convert_model(const std::filesystem::path& input, const std::filesystem::path& output,
                            const ConvertOptions& options);

// "5GB", "500MB", "64KB", "1.5TB" (powers of 1,000, as in transformers) or plain bytes. FAILS: kUsage.
uint64_t parse_size_bytes(std::string_view text);

}  // namespace evalmpi::model

#pragma once

// What a model is: sizes and small enums, read from config.json. Everything that differs between families
// is data here or a row of the tensor table; no code asks for a family's name.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::model {

enum class NormKind { kRms, kLayer };
enum class MlpKind { kGatedSilu, kGeluErf, kGeluTanh };
enum class RotaryScaling { kNone, kLinear, kLlama3 };
enum class DType { kFloat32, kBFloat16, kFloat16 };

int64_t bytes_of(DType dtype);
const char* name_of(DType dtype);  // "float32", "bfloat16", "float16"

// Rotary positions (RoFormer, arXiv:2104.09864), rotate-half form.
struct RotarySpec {
  double theta = 10000.0;
  int64_t dims = 0;  // the first dims of each head are rotated; even
  RotaryScaling scaling = RotaryScaling::kNone;
  double factor = 1.0;                 // linear, llama3
  double low_freq_factor = 1.0;        // llama3
  double high_freq_factor = 4.0;       // llama3
  int64_t original_max_positions = 0;  // llama3
};

struct ModelSpec {
  std::string architecture;  // architectures[0], e.g. "LlamaForCausalLM"
  std::string family;        // model_type, e.g. "llama": picks the source names in the tensor table

  int64_t hidden = 0;  // D
  int64_t layers = 0;
  int64_t heads = 0;     // N
  int64_t kv_heads = 0;  // G; divides heads
  int64_t head_dim = 0;  // H; N * H need not be D
  int64_t mlp = 0;       // F
  int64_t vocab = 0;     // V, rows of the embedding
  int64_t max_positions = 0;

  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-6;
  MlpKind mlp_kind = MlpKind::kGatedSilu;
  RotarySpec rotary;
  int64_t sliding_window = 0;      // 0: none
  bool parallel_residual = false;  // x + attention(norm1 x) + mlp(norm2 x)
  bool attention_bias = false;     // on q, k, v and output
  bool mlp_bias = false;
  bool tied_head = false;

  DType source_dtype = DType::kFloat32;  // what config.json says; the files decide
  int64_t bos_id = -1;                   // -1: none
  std::vector<int64_t> eos_ids;          // any of them ends a generation
  Json config;                           // config.json
  Json generation_config;                // generation_config.json, null when there is none

  bool gated_mlp() const { return mlp_kind == MlpKind::kGatedSilu; }
  int64_t query_heads_per_kv_head() const { return heads / kv_heads; }
};

// Reads folder/config.json and, where it exists, folder/generation_config.json (whose bos_token_id and
// eos_token_id come first, as in transformers' generate). Knows the spellings of transformers 4 and 5.
// FAILS: kMissingInput when config.json does not exist, kBadInput for an architecture, activation, rotary kind or
// quantisation that evalmpi does not compute, and for sizes that cannot be. Reads no weights.
ModelSpec read_model_spec(const std::filesystem::path& folder);

// The architectures that read_model_spec knows, e.g. {"LlamaForCausalLM", "GPTNeoXForCausalLM"}.
std::vector<std::string> supported_architectures();

// The folder that `name` means: a folder's path as it is, or a hub id ("org/name") found in the Hugging Face
// cache (HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub), its `main`.
// FAILS: kMissingInput, saying where it looked.
std::filesystem::path resolve_model_folder(std::string_view name);

}  // namespace evalmpi::model

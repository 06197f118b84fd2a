#pragma once

// What a model is: sizes and small enums, read from config.json. Everything that differs between families
// is data here or a row of the tensor table; no code asks for a family's name.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/ops/activation.h"

namespace evalmpi::model {

class Adapter;

enum class NormKind { kRms, kLayer };
enum class RotaryScaling { kNone, kLinear, kLlama3, kYarn, kLong };
enum class DType { kFloat32, kBFloat16, kFloat16 };

int64_t bytes_of(DType dtype);
const char* name_of(DType dtype);  // "float32", "bfloat16", "float16"

// Rotary positions (RoFormer, arXiv:2104.09864).
struct RotarySpec {
  double theta = 10000.0;
  int64_t first = 0;            // dims of each head are rotated, from `first` on
  int64_t dims = 0;             // even
  bool is_interleaved = false;  // pairs (2 i, 2 i + 1) instead of (i, i + dims / 2)
  RotaryScaling scaling = RotaryScaling::kNone;
  double factor = 1.0;                 // linear, llama3, yarn
  double low_freq_factor = 1.0;        // llama3
  double high_freq_factor = 4.0;       // llama3
  int64_t original_max_positions = 0;  // llama3, yarn, long
  double beta_fast = 32.0;             // yarn (arXiv:2309.00071)
  double beta_slow = 1.0;              // yarn
  bool truncate = true;                // yarn
  std::vector<double> short_factors;   // long (LongRoPE, arXiv:2402.13753): one for each pair
  std::vector<double> long_factors;    // for sequences above original_max_positions
  double attention_factor = 1.0;       // yarn, long: cos and sin are multiplied by it
  double score_scale = 1.0;            // yarn with mscale_all_dim: what it asks of scores of latent attention
};

// Norms of queries and keys before their positions are put in.
enum class QueryKeyNorm {
  kNone,
  kHead,      // each head alone, one weight [H] for all (Qwen3, Gemma 3)
  kEachHead,  // each head alone, weights [heads, H] (Command-R, StableLM)
  kAll,       // over all heads together (OLMo 2)
};

// Scores grow with the key's position instead of rotary positions (arXiv:2108.12409).
enum class Alibi {
  kNone,
  kExact,     // BLOOM
  kBFloat16,  // Falcon: slope, position and product rounded to bfloat16, then scaled like the scores
};

// Experts of an MLP layer (arXiv:2401.04088): `per_token` of `count` are computed for a token and weighted.
struct ExpertSpec {
  int64_t count = 0;  // 0: no layer has experts
  int64_t per_token = 0;
  int64_t mlp = 0;                 // width of one
  bool is_sigmoid = false;         // scores are sigmoids, not a softmax (DeepSeek-V3)
  bool renormalise = false;        // the chosen experts' weights sum to 1
  double scale = 1;                // of the weights
  bool router_bias = false;        // of the logits
  bool router_correction = false;  // added to scores for the choice alone (DeepSeek-V3)
  int64_t groups = 1;              // of which a token may choose from groups_per_token
  int64_t groups_per_token = 1;
  int64_t group_best = 1;        // as many best experts make a group's score
  bool bias = false;             // in every expert
  bool is_mxfp4 = false;         // the files hold them in MXFP4; widened to bfloat16 when they are read
  int64_t shared_mlp = 0;        // width of an expert that every token takes; 0: none
  bool has_shared_gate = false;  // sigmoid(x w) times the shared expert (Qwen2-MoE)
};

// Keys and values of all heads from one narrow vector for each token (multi-head latent attention, arXiv:2405.04434). A
// head's key is its own part, then a part with rotary positions that all heads share.
struct LatentSpec {
  int64_t key_value_rank = 0;  // 0: the model's attention is not of this kind
  int64_t query_rank = 0;      // 0: queries come from the hidden state
  int64_t rotary_dim = 0;      // the shared part of a key; the rest of head_dim is the head's own
  int64_t value_dim = 0;
  double norm_eps = 1e-6;  // of the narrow vectors' norms
};

// What differs between the layers of one model.
struct LayerSpec {
  int64_t sliding_window = 0;  // 0: none
  int rotary = 0;              // index into ModelSpec::rotaries; -1: no positions here
  bool has_experts = false;
};

struct ModelSpec {
  std::string architecture;  // architectures[0], e.g. "LlamaForCausalLM"
  std::string family;        // model_type, e.g. "llama": picks the source names in the tensor table

  int64_t hidden = 0;  // D
  int64_t layers = 0;
  int64_t heads = 0;     // N
  int64_t kv_heads = 0;  // G; divides heads
  int64_t head_dim = 0;  // H; N * H need not be D
  LatentSpec latent;
  int64_t mlp = 0;    // F
  int64_t vocab = 0;  // V, rows of the embedding
  int64_t max_positions = 0;

  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-6;
  bool norm_has_weight = true;
  bool norm_has_bias = false;
  double norm_weight_offset = 0;  // added to every norm's stored weight (Gemma: 1)
  bool norm_before = true;        // x + f(norm(x))
  bool norm_after = false;        // x + norm(f(x)); both: Gemma 2
  bool norm_of_sum = false;       // norm(x + f(x)) (OPT-350m)
  bool final_norm = true;
  bool parallel_residual = false;     // x + attention(norm x) + mlp(norm x)
  bool parallel_shares_norm = false;  // one norm for both (GPT-J, Phi, Cohere)

  std::vector<RotarySpec> rotaries;  // LayerSpec::rotary points here
  Alibi alibi = Alibi::kNone;
  int64_t learned_positions = 0;        // rows of a table of positions that is added to the embedding; 0: none
  int64_t learned_position_offset = 0;  // its row of position 0

  QueryKeyNorm query_key_norm = QueryKeyNorm::kNone;
  double query_key_value_clip = 0;  // 0: none
  double attention_scale = 0;       // of scores, before soft cap and bias
  double attention_soft_cap = 0;    // 0: none
  bool query_key_value_bias = false;
  bool attention_out_bias = false;
  bool attention_sinks = false;

  ops::Activation activation = ops::Activation::kSilu;
  bool gated_mlp = true;
  double gate_limit = 0;  // the gate is at most this, up in [-limit, limit] (gpt-oss); 0: none
  double up_offset = 0;   // added to up
  bool mlp_bias = false;
  ExpertSpec experts;

  int64_t embedding_width = 0;  // of embedding and head where it is not D: projections lie between; 0: D (OPT-350m)
  double embedding_scale = 1;
  bool embedding_norm = false;
  double residual_scale = 1;  // of what attention and MLP add
  double logit_scale = 1;
  double logit_soft_cap = 0;  // 0: none
  bool head_bias = false;
  bool tied_head = false;

  std::vector<LayerSpec> layer;  // [layers]

  DType source_dtype = DType::kFloat32;  // what config.json says; the files decide
  int64_t bos_id = -1;                   // -1: none
  std::vector<int64_t> eos_ids;          // any of them ends a generation
  Json config;                           // config.json
  Json generation_config;                // generation_config.json, null when there is none

  std::shared_ptr<const Adapter> adapter;  // on top of the model (model/adapter.h); null: none

  int64_t query_heads_per_kv_head() const { return heads / kv_heads; }
  int64_t value_dim() const { return latent.value_dim > 0 ? latent.value_dim : head_dim; }  // U
  int64_t token_width() const { return embedding_width > 0 ? embedding_width : hidden; }
  // Positions up to which all tokens of a sequence are computed alike, whatever its length (LongRoPE ends there).
  int64_t uniform_positions() const;
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

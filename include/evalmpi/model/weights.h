#pragma once

// One place's shard of a model's weights, complete and checked.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "evalmpi/base/hash.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/ops/elementwise.h"
#include "evalmpi/ops/linear.h"

namespace evalmpi::model {

// An adapter's part of a linear (model/adapter.h). a is cut by columns where the weight is, b by rows.
struct AdapterTerm {
  std::variant<at::Tensor, ops::PackedLinear> a_RK, b_NR;  // float32, stored as the weight is
  double scale = 1;
  at::Tensor gain_N = {};  // float32, DoRA's factor of each output; undefined: none

  // What is added to the linear's own x W^T.
  at::Tensor operator()(const at::Tensor& x_TK, const at::Tensor& base_TN, bool few_rows) const;
  int64_t bytes() const;
};

// y = x W^T + b for any storage of W, and what adapters add.
struct Linear {
  // Dense [out, in] float32, or packed: in the files' dtype, on a device in Weights::product_type.
  std::variant<at::Tensor, ops::PackedLinear> weight;
  at::Tensor bias;  // float32, undefined: none
  std::vector<AdapterTerm> terms = {};

  // The result is in form.out: float32, or Weights::product_type.
  at::Tensor operator()(const at::Tensor& x_TK, const ops::ProductForm& form = {}) const;
  int64_t bytes() const;
};

struct Norm {
  at::Tensor weight_D;  // float32
  at::Tensor bias_D;    // float32, undefined for RMS norms
};

// down(activate(gate) * up), or down(activate(up)).
struct Mlp {
  Linear gate;  // [F, D]; no weight unless the MLP is gated
  Linear up;    // [F, D]
  Linear down;  // [D, F]; its bias is apart (below)
  int64_t bytes() const;
};

// N, G and F count this place's query heads, KV heads and MLP columns; any of them may be 0. What a model does not have
// is empty.
struct LayerWeights {
  Norm attention_norm;
  Linear query_down;  // [query_rank, D]; of latent attention, whole on every place
  Norm query_down_norm;
  Linear key_value_down;  // [key_value_rank + rotary_dim, D]
  Norm key_value_down_norm;
  Linear query;     // [N * H, D], or [N * H, query_rank]
  Linear key;       // [G * H, D], or the heads' own parts [G * (H - rotary_dim), key_value_rank]
  Linear value;     // [G * U, D or key_value_rank]
  Norm query_norm;  // [H], or [N, H], or [N * H]
  Norm key_norm;
  at::Tensor sinks_N;               // float32; undefined: none
  Linear attention_out;             // [D, N * U], its bias apart:
  at::Tensor attention_out_bias_D;  // added once, after the sum over tp; undefined: none
  Norm attention_post_norm;
  Norm mlp_norm;
  Mlp mlp;
  at::Tensor down_bias_D;          // as attention_out_bias_D
  Linear router;                   // [experts, D]
  at::Tensor router_correction_E;  // float32; undefined: none
  std::vector<Mlp> experts;        // the bias of down is on one place only, inside
  Linear shared_router;            // [1, D]
  Mlp shared;
  Norm mlp_post_norm;
  int64_t bytes() const;
};

// Borrows a layer for as long as it lives, so that a layer may later be streamed or gathered.
class LayerHandle {
 public:
  explicit LayerHandle(const LayerWeights& layer) : layer_(&layer) {}
  LayerHandle(const LayerHandle&) = delete;
  LayerHandle& operator=(const LayerHandle&) = delete;
  const LayerWeights& operator*() const { return *layer_; }
  const LayerWeights* operator->() const { return layer_; }

 private:
  const LayerWeights* layer_;
};

class Weights;

struct LoadOptions {
  bool pack = true;           // false: dense float32 linears through ATen (reference, training)
  int64_t max_positions = 0;  // rows of the rotary tables; 0: the model's
  // Where the weights go, and what matrices are multiplied in: float32, on a device also bfloat16 or float16. With a
  // base both are the base's.
  at::Device device = at::kCPU;
  at::ScalarType product_type = at::kFloat;
  // Tensors that are read, checked and packed side by side. In memory are the shard and one tensor for each thread.
  int threads = 1;
  // The same shard of the same model without an adapter. Then only the adapter is read (and what its sums need of the
  // model), and the rest is shared with the base.
  std::shared_ptr<const Weights> base = {};
  // Called after each tensor with the bytes of this place read so far and in total; from one thread at a time.
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress;
};

// An adapter's part of the head: its input h becomes [h, scale * a h], and head_VD has a column for each value.
struct HeadLora {
  ops::PackedLinear a_RD;
  double scale = 1;
};

class Weights {
 public:
  ModelSpec spec;
  RankShard shard;
  // This place's vocabulary rows, in the files' dtype; undefined when tied: then head_VD is it.
  at::Tensor embedding_VD;
  at::Tensor position_PD;  // float32, learned positions; undefined: none
  Norm embedding_norm;
  Linear project_in, project_out;  // where the embedding is not as wide as the model
  std::vector<LayerWeights> layers;
  Norm final_norm;
  ops::PackedLinear head_VD;  // this place's vocabulary rows
  at::Tensor head_bias_V;     // undefined: none
  std::optional<HeadLora> head_lora;
  std::vector<ops::RotaryTable> rotaries;  // float32 [positions, rotary dims / 2], as ModelSpec::rotaries
  at::Tensor alibi_NP;                     // float32 [this place's query heads, positions]; undefined: none
  int64_t positions = 0;                   // that may be computed
  // Where all of this is. On a device packed weights are in product_type, and so are the rows that enter a product
  // within a block, and keys and values; the residual, norms' inputs, sums over tp, logits and adapters' terms are
  // float32.
  at::Device device = at::kCPU;
  at::ScalarType product_type = at::kFloat;
  uint64_t bytes_read = 0;  // from files, by this place

  LayerHandle acquire(int64_t layer) const { return LayerHandle(layers[static_cast<size_t>(layer)]); }
  int64_t bytes() const;  // in memory
};

// Reads the shard of `tp_rank`, and its adapter's: only its bytes. Not under InferenceMode (such weights could not be
// trained). FAILS: kMissingInput, kIo; kBadInput for a tensor that is missing, of another shape or dtype, or holds NaN
// or infinity: names tensor, file, expected and found, and of several the first of the tensor table. Tensors that the
// model does not have are a warning.
std::shared_ptr<const Weights> load_weights(const std::filesystem::path& folder, const ModelSpec& spec,
                                            const ShardPlan& plan, int tp_rank, const LoadOptions& options = {});

// The inverse frequencies [dims / 2], in the float32 steps of transformers' modeling_rope_utils.
std::vector<float> rotary_inverse_frequencies(const RotarySpec& rotary);
// cos and sin of float32(position) * inverse frequency (rounded to float32), each correctly rounded to float32, times
// the attention factor.
ops::RotaryTable make_rotary_table(const RotarySpec& rotary, int64_t positions);

// slope * position for query heads [heads.begin, heads.end) of `count` (arXiv:2108.12409: powers of 2^(-8 / n)).
at::Tensor make_alibi(const ModelSpec& spec, const Range& heads, int64_t positions);

// Identity of the weights: config.json and the content of all weight files (XXH3 in blocks, on up to
// `threads` threads; the result does not depend on them). Tokenizer files have their own identity.
// FAILS: kMissingInput, kIo, kBadInput.
Hash128 model_digest(const std::filesystem::path& folder, int threads = 1);

}  // namespace evalmpi::model

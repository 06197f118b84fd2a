#pragma once

// One row for each tensor of a model: what it is called, its shape, and how it is cut for tensor parallelism.
// Loading, shard sizes, parameter counts and memory estimates read this table and nothing else.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/spec.h"

namespace evalmpi::model {

// Where a tensor is used.
enum class Slot {
  kEmbedding,
  kAttentionNorm,
  kQuery,
  kKey,
  kValue,
  kQueryKeyValue,  // one source tensor for all three, [N, 3, H] rows (GPT-NeoX)
  kAttentionOut,
  kMlpNorm,
  kGate,
  kUp,
  kDown,
  kFinalNorm,
  kHead,
};

enum class Part { kWeight, kBias };

// How a place's shard is cut out of the logical tensor.
enum class ShardRule {
  kWhole,         // on every place: norms, and biases that are added after a reduction
  kQueryRows,     // rows of this place's query heads
  kKeyValueRows,  // rows of this place's KV heads
  kFusedRows,     // rows of [N, 3, H]: this place's heads, all q, then all k, then all v
  kQueryColumns,  // columns of this place's query heads
  kMlpRows,
  kMlpColumns,
  kVocabRows,
};

struct TensorRow {
  std::string name;         // canonical, e.g. "layers.3.attention.query.weight"
  std::string source_name;  // in the files, e.g. "model.layers.3.self_attn.q_proj.weight"
  Slot slot = Slot::kEmbedding;
  Part part = Part::kWeight;
  int64_t layer = -1;  // -1: outside the stack
  std::vector<int64_t> shape;
  ShardRule rule = ShardRule::kWhole;
  std::string adapter_target;  // the module name that PEFT uses ("q_proj"), empty for what is not a linear
};

// All tensors, embedding first, head last; a tied head has no row.
std::vector<TensorRow> make_tensor_table(const ModelSpec& spec);

// What a place holds of `row`: ranges of dimension `dim`, to be joined in order.
struct Slice {
  int64_t dim = 0;
  std::vector<Range> ranges;
  int64_t size() const;  // of dimension `dim` after joining
};
Slice shard_slice(const TensorRow& row, const ModelSpec& spec, const RankShard& shard);

// The shard's shape, its dimension slice.dim replaced by slice.size().
std::vector<int64_t> shard_shape(const TensorRow& row, const Slice& slice);

// Names in checkpoint files that hold nothing the model needs (precomputed rotary tables, causal masks).
bool is_known_buffer(std::string_view source_name);

// Elements of all rows; of one place's shards.
int64_t count_parameters(std::span<const TensorRow> table);
int64_t count_parameters(std::span<const TensorRow> table, const ModelSpec& spec, const RankShard& shard);

}  // namespace evalmpi::model

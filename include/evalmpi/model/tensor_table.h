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
  kPosition,  // learned positions, one row each
  kEmbeddingNorm,
  kProjectIn,  // from the embedding's width to the model's
  kAttentionNorm,
  kQueryDown,  // to the narrow vectors of latent attention
  kQueryDownNorm,
  kKeyValueDown,  // the last rows are the shared part of the keys
  kKeyValueDownNorm,
  kQuery,
  kKey,
  kValue,
  kQueryNorm,
  kKeyNorm,
  kSinks,  // one logit for each query head
  kAttentionOut,
  kAttentionPostNorm,  // of what attention adds
  kMlpNorm,
  kGate,
  kUp,
  kDown,
  kRouter,
  kRouterCorrection,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kSharedRouter,
  kSharedGate,
  kSharedUp,
  kSharedDown,
  kMlpPostNorm,
  kFinalNorm,
  kProjectOut,
  kHead,
};

enum class Part { kWeight, kBias };

// How a place's shard is cut out of the logical tensor.
enum class ShardRule {
  kWhole,         // on every place: norms, routers, and biases that are added after a reduction
  kQueryRows,     // rows of this place's query heads
  kKeyValueRows,  // rows of this place's KV heads
  kQueryHeads,    // one row for each of this place's query heads
  kKeyValueHeads,
  kOneQueryHead,  // of one head: on the place that has it
  kOneKeyValueHead,
  kQueryColumns,  // columns of this place's query heads
  kMlpRows,
  kMlpColumns,
  kExpertRows,  // of one expert
  kExpertColumns,
  kSharedRows,  // of the shared expert
  kSharedColumns,
  kVocabRows,
  kFirst,  // on one place: what is added before a sum over places
};

enum class Storage {
  kPlain,
  kMxfp4,  // blocks of 32 values of 4 bits [.., rows, columns / 32, 16], and their scales in a tensor beside (mxfp4.h)
};

// Where the rows of a logical tensor [out, in] lie in the file's: logical row r is row
// offset + r / group_rows * group_stride + r % group_rows there, or that column where the file holds [in, out].
struct SourceLayout {
  std::vector<int64_t> shape;
  Storage storage = Storage::kPlain;
  int64_t index = -1;  // of the first dimension, where the file stacks all experts in one tensor; -1: it does not
  bool is_transposed = false;
  int64_t offset = 0;
  int64_t group_rows = 1;
  int64_t group_stride = 1;
};

struct TensorRow {
  std::string name;         // canonical, e.g. "layers.3.attention.query.weight"
  std::string source_name;  // in the files, e.g. "model.layers.3.self_attn.q_proj.weight"; several rows may share it
  Slot slot = Slot::kEmbedding;
  Part part = Part::kWeight;
  int64_t layer = -1;   // -1: outside the stack
  int64_t expert = -1;  // -1: none
  int64_t head = -1;    // where heads have tensors of their own; -1: none
  std::vector<int64_t> shape;
  ShardRule rule = ShardRule::kWhole;
  SourceLayout source;
  std::string adapter_target;  // the module name that PEFT uses ("q_proj"), empty for what is not a linear
  bool is_adaptable = true;    // false: PEFT sees no linear module here, whatever the shape
};

// All tensors, embedding first, head last; a tied head has no row.
std::vector<TensorRow> make_tensor_table(const ModelSpec& spec);

// What a place holds of `row`.
Slice shard_slice(const TensorRow& row, const ModelSpec& spec, const RankShard& shard);

// The same in the file's tensor.
Slice source_slice(const TensorRow& row, const Slice& slice);

// The shard's shape, its dimension slice.dim replaced by slice.size().
std::vector<int64_t> shard_shape(const TensorRow& row, const Slice& slice);

// Names in checkpoint files that hold nothing the model needs (precomputed rotary tables, causal masks).
bool is_known_buffer(std::string_view source_name);

// Elements of all rows; of one place's shards.
int64_t count_parameters(std::span<const TensorRow> table);
int64_t count_parameters(std::span<const TensorRow> table, const ModelSpec& spec, const RankShard& shard);

}  // namespace evalmpi::model

#include "evalmpi/model/memory.h"

#include "evalmpi/model/tensor_table.h"

namespace evalmpi::model {
namespace {

constexpr int64_t kFloatBytes = 4;

int64_t elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

int64_t weight_bytes(const ModelSpec& spec, const RankShard& shard, DType dtype, int64_t positions) {
  int64_t total = 2 * positions * (spec.rotary.dims / 2) * kFloatBytes;
  for (const TensorRow& row : make_tensor_table(spec)) {
    const bool is_matrix = row.shape.size() == 2;
    total += elements(shard_shape(row, shard_slice(row, spec, shard))) * (is_matrix ? bytes_of(dtype) : kFloatBytes);
  }
  // A tied head is a packed copy of the embedding's rows.
  if (spec.tied_head) total += shard.vocab.size() * spec.hidden * bytes_of(dtype);
  return total;
}

// Residual, normalised rows, a block's output, its reduced form and their sum are alive together with the widest
// part of a block: query, key and value before and after rotation and the attention's output, or gate, up and
// their product.
int64_t activation_floats_per_row(const ModelSpec& spec, const RankShard& shard) {
  const int64_t query = shard.query_heads.size() * spec.head_dim;
  const int64_t key = shard.kv_heads.size() * spec.head_dim;
  const int64_t attention = 3 * query + 3 * key;
  return 5 * spec.hidden + attention + 3 * shard.mlp.size();
}

}  // namespace

MemoryEstimate estimate_memory(const ModelSpec& spec, const ShardPlan& plan, int tp_rank, DType dtype,
                               int64_t positions) {
  const RankShard& shard = plan.ranks[static_cast<size_t>(tp_rank)];
  MemoryEstimate estimate;
  estimate.weight_bytes = weight_bytes(spec, shard, dtype, positions == 0 ? spec.max_positions : positions);
  estimate.key_value_bytes_per_position = 2 * spec.layers * shard.kv_heads.size() * spec.head_dim * kFloatBytes;
  estimate.activation_bytes_per_row = activation_floats_per_row(spec, shard) * kFloatBytes;
  estimate.head_bytes_per_row = 2 * spec.hidden * kFloatBytes;
  return estimate;
}

}  // namespace evalmpi::model

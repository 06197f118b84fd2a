#include "evalmpi/model/memory.h"

#include <algorithm>
#include <utility>

#include "adapter_terms.h"
#include "device_copy.h"
#include "evalmpi/model/tensor_table.h"

namespace evalmpi::model {
namespace {

constexpr int64_t kFloatBytes = 4;
// Packed weights, keys and values come in panels of this many columns (ops).
constexpr int64_t kPanel = 16;
// A summary of each row for every so many columns of the vocabulary (ops::head): maximum, sum, argmax.
constexpr int64_t kHeadBlock = 2048;
constexpr int64_t kSummaryBytes = 12;
// Blocks of many sizes leave holes in the allocator's heaps; measured.
constexpr int64_t kHolesShare = 4;  // a quarter of what is alive
// Packed rows of a matrix product, scores of an attention tile, logits of one block of the head; measured.
constexpr int64_t kScratchBytes = int64_t{4} << 20;

int64_t in_panels(int64_t columns) { return (columns + kPanel - 1) / kPanel * kPanel; }

int64_t elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

// Bytes of a row of the table as it stays in memory.
int64_t resident_bytes(const TensorRow& row, const ModelSpec& spec, const RankShard& shard, DType dtype) {
  const std::vector<int64_t> shape = shard_shape(row, shard_slice(row, spec, shard));
  if (shape.size() != 2) return elements(shape) * kFloatBytes;
  if (row.slot == Slot::kEmbedding && !spec.tied_head) return elements(shape) * bytes_of(dtype);
  if (row.source.storage == Storage::kMxfp4) dtype = DType::kBFloat16;
  if (row.slot == Slot::kPosition || row.slot == Slot::kQueryNorm || row.slot == Slot::kKeyNorm) {
    return elements(shape) * kFloatBytes;
  }
  return in_panels(shape[0]) * shape[1] * bytes_of(dtype);
}

// Rotary and ALiBi tables.
int64_t table_bytes(const ModelSpec& spec, const RankShard& shard, int64_t positions) {
  const int64_t rows = positions == 0 ? spec.max_positions : positions;
  int64_t bytes = spec.alibi == Alibi::kNone ? 0 : shard.query_heads.size() * rows * kFloatBytes;
  for (const RotarySpec& rotary : spec.rotaries) bytes += rows * rotary.dims * kFloatBytes;
  return bytes;
}

// Of the file that holds the row's tensor.
DType dtype_in_memory(const TensorRow& row, const ModelSpec& spec, DType dtype) {
  const std::string* replacement = spec.adapter ? spec.adapter->replacement(row) : nullptr;
  if (replacement == nullptr) return dtype;
  const std::string& name = spec.adapter->file().find(*replacement)->dtype;
  return name == "F32" ? DType::kFloat32 : name == "F16" ? DType::kFloat16 : DType::kBFloat16;
}

// run_block's tensors. The residual, a norm's output, the attention's output, their sum and a linear's output are alive
// together with the widest part of the block; a reduction over places holds two copies more.
int64_t activation_floats_per_row(const ModelSpec& spec, const RankShard& shard, int tp) {
  const int64_t query = shard.query_heads.size() * spec.head_dim;
  const int64_t key = shard.kv_heads.size() * spec.head_dim;
  const LatentSpec& latent = spec.latent;
  const int64_t narrow = 2 * (latent.query_rank + latent.key_value_rank + latent.rotary_dim);
  const int64_t in_attention = 3 * spec.hidden + 2 * query + 2 * key + (narrow > 0 ? narrow + key : 0);
  const int64_t wide = spec.gated_mlp ? 3 : 2;
  const int64_t in_mlp = 5 * spec.hidden + wide * std::max(shard.mlp.size(), shard.shared_mlp.size());
  // One expert's tokens at a time, at most all of them, beside the sum.
  const int64_t in_experts = 8 * spec.hidden + wide * shard.expert_mlp.size() + 2 * spec.experts.count;
  const bool has_experts = spec.experts.count > 0;
  return std::max({in_attention, in_mlp, has_experts ? in_experts : 0}) + (tp > 1 ? 2 * spec.hidden : 0);
}

// What the libraries of a device keep for a lane beside the tensors: workspace of products, tables of attention, the
// tiles of the head's logits.
constexpr int64_t kDeviceScratchBytes = int64_t{256} << 20;

// Bytes of a row of the table on a device.
int64_t device_bytes(const TensorRow& row, const ModelSpec& spec, const RankShard& shard, DType product_type) {
  const std::vector<int64_t> shape = shard_shape(row, shard_slice(row, spec, shard));
  // Nothing is multiplied with it: it stays as in the files.
  if (row.slot == Slot::kEmbedding && !spec.tied_head) {
    return elements(shape) * std::max(bytes_of(product_type), bytes_of(spec.source_dtype));
  }
  const bool is_float =
      shape.size() != 2 || row.slot == Slot::kPosition || row.slot == Slot::kQueryNorm || row.slot == Slot::kKeyNorm;
  return elements(shape) * (is_float ? kFloatBytes : bytes_of(product_type));
}

// run_block's tensors: the residual, an output before and after its sum over the places are float32, what is multiplied
// is of the product type.
int64_t device_activation_bytes_per_row(const ModelSpec& spec, const RankShard& shard, int tp, int64_t type_bytes) {
  const int64_t query = shard.query_heads.size() * spec.head_dim, key = shard.kv_heads.size() * spec.head_dim;
  const LatentSpec& latent = spec.latent;
  const int64_t narrow = 2 * (latent.query_rank + latent.key_value_rank + latent.rotary_dim);
  const int64_t in_attention = 2 * query + 2 * key + (narrow > 0 ? narrow + key : 0);
  const int64_t wide = spec.gated_mlp ? 3 : 2;
  const int64_t in_mlp = wide * std::max(shard.mlp.size(), shard.shared_mlp.size());
  const int64_t in_experts = 4 * spec.hidden + wide * shard.expert_mlp.size() + 2 * spec.experts.count;
  const int64_t widest = std::max({in_attention, in_mlp, spec.experts.count > 0 ? in_experts : 0});
  const int64_t residuals = (tp > 1 ? 5 : 3) * spec.hidden;
  return residuals * kFloatBytes + (spec.hidden + widest) * type_bytes;
}

}  // namespace

LaneBytes PlaceMemory::of_lane(const LaneWork& work) const {
  LaneBytes bytes;
  bytes.key_values = work.paths * in_panels(work.positions) * key_value_bytes_per_position;
  bytes.activations = work.rows * (activation_bytes_per_row + activation_bytes_per_row / kHolesShare);
  bytes.head = work.head_rows * head_bytes_per_row + work.logit_rows * logits_bytes_per_row + scratch_bytes_per_lane;
  return bytes;
}

// Time counts in bytes packed by one thread. Just before a tensor is done, those beside it are in memory as pages of
// the file and as far as they are packed.
int64_t PlaceMemory::loading_bytes(int threads) const {
  struct Packing {
    int64_t start, end;
  };
  std::vector<Packing> busy;
  int64_t done = 0, most = 0, now = 0;
  const auto end_one = [&] {
    const auto first =
        std::min_element(busy.begin(), busy.end(), [](const Packing& a, const Packing& b) { return a.end < b.end; });
    now = first->end;
    int64_t resident = done;
    for (const Packing& one : busy) resident += one.end - one.start + now - one.start;
    most = std::max(most, resident);
    done += first->end - first->start;
    busy.erase(first);
  };
  for (const int64_t bytes : tensors_bytes) {
    if (busy.size() == static_cast<size_t>(std::clamp(threads, 1, kMaxLoadingThreads))) end_one();
    busy.push_back({now, now + bytes});
  }
  while (!busy.empty()) end_one();
  return std::max<int64_t>(0, most - done);
}

PlaceMemory place_memory(const ModelSpec& spec, const ShardPlan& plan, int tp_rank, DType dtype, int64_t positions) {
  const RankShard& shard = plan.ranks[static_cast<size_t>(tp_rank)];
  PlaceMemory memory;
  memory.weight_bytes = table_bytes(spec, shard, positions);
  for (const TensorRow& row : make_tensor_table(spec)) {
    int64_t bytes = resident_bytes(row, spec, shard, dtype_in_memory(row, spec, dtype));
    if (spec.adapter) bytes += adapter_term_bytes(*spec.adapter, row, spec, shard, bytes);
    memory.weight_bytes += bytes;
    memory.largest_tensor_bytes = std::max(memory.largest_tensor_bytes, bytes);
    memory.tensors_bytes.push_back(bytes);
  }
  memory.key_value_bytes_per_position =
      spec.layers * shard.kv_heads.size() * (spec.head_dim + in_panels(spec.value_dim())) * kFloatBytes;
  memory.activation_bytes_per_row = activation_floats_per_row(spec, shard, plan.tp()) * kFloatBytes;
  const int64_t head_blocks = (shard.vocab.size() + kHeadBlock - 1) / kHeadBlock;
  memory.head_bytes_per_row = 2 * spec.hidden * kFloatBytes + head_blocks * kSummaryBytes;
  // This place's part, the parts of all as they are gathered, and the whole.
  memory.logits_bytes_per_row = 2 * spec.hidden * kFloatBytes + (shard.vocab.size() + 2 * spec.vocab) * kFloatBytes;
  memory.scratch_bytes_per_lane = kScratchBytes;
  return memory;
}

PlaceMemory device_place_memory(const ModelSpec& spec, const ShardPlan& plan, int tp_rank, DType product_type,
                                int64_t positions) {
  const RankShard& shard = plan.ranks[static_cast<size_t>(tp_rank)];
  const int64_t type_bytes = bytes_of(product_type);
  PlaceMemory memory;
  memory.weight_bytes = table_bytes(spec, shard, positions);
  for (const TensorRow& row : make_tensor_table(spec)) {
    int64_t bytes = device_bytes(row, spec, shard, product_type);
    if (spec.adapter) bytes += adapter_term_bytes(*spec.adapter, row, spec, shard, bytes);
    memory.weight_bytes += bytes;
    memory.largest_tensor_bytes = std::max(memory.largest_tensor_bytes, bytes);
    memory.tensors_bytes.push_back(bytes);
  }
  memory.key_value_bytes_per_position =
      spec.layers * shard.kv_heads.size() * (spec.head_dim + spec.value_dim()) * type_bytes;
  memory.activation_bytes_per_row = device_activation_bytes_per_row(spec, shard, plan.tp(), type_bytes);
  const int64_t head_blocks = (shard.vocab.size() + kHeadBlock - 1) / kHeadBlock;
  memory.head_bytes_per_row = spec.hidden * (kFloatBytes + type_bytes) + head_blocks * kSummaryBytes;
  memory.logits_bytes_per_row =
      spec.hidden * (kFloatBytes + type_bytes) + (shard.vocab.size() + spec.vocab) * kFloatBytes;
  memory.scratch_bytes_per_lane = kDeviceScratchBytes;
  return memory;
}

int64_t staging_bytes(int threads) { return std::clamp(threads, 1, kMaxLoadingThreads) * kStagingBytesPerThread; }

}  // namespace evalmpi::model

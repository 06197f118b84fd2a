#pragma once

// Bytes, predicted from the spec and the shard plan before anything is allocated.

#include <cstdint>
#include <vector>

#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/spec.h"

namespace evalmpi::model {

// What one lane has in memory at once while it computes.
struct LaneWork {
  int64_t rows = 0;        // of a segment
  int64_t head_rows = 0;   // of them, given to the head for scores
  int64_t logit_rows = 0;  // of them, whose whole logits are made: generation
  int64_t paths = 1;       // of the key-value store
  int64_t positions = 0;   // of each path
};

struct LaneBytes {
  int64_t key_values = 0;
  int64_t activations = 0;  // with the holes that blocks of many sizes leave in the allocator's heaps
  int64_t head = 0;         // rows and logits, and the kernels' own scratch
  int64_t total() const { return key_values + activations + head; }
};

// Above this loading waits for the disk and the memory.
inline constexpr int kMaxLoadingThreads = 16;

struct PlaceMemory {
  int64_t weight_bytes = 0;                  // equals Weights::bytes(): packed matrices, norms, biases, rotary tables
  int64_t largest_tensor_bytes = 0;          // of this place's shard: is in memory twice while it is packed
  int64_t key_value_bytes_per_position = 0;  // of one path, all layers, packed, float32
  int64_t activation_bytes_per_row = 0;      // the most that is alive at once in a layer, for each row of a segment
  int64_t head_bytes_per_row = 0;
  int64_t logits_bytes_per_row = 0;
  int64_t scratch_bytes_per_lane = 0;

  std::vector<int64_t> tensors_bytes;  // in the order in which they are loaded

  LaneBytes of_lane(const LaneWork& work) const;
  // Beside the weights, while LoadOptions::threads threads read and pack tensors: a tensor's pages of the file are in
  // memory until its packed copy is made. Each thread takes the next tensor and is as fast as any other.
  int64_t loading_bytes(int threads) const;
};

// For the place of `tp_rank`, with weights kept in `dtype` and rotary tables of `positions` rows (0: the model's).
PlaceMemory place_memory(const ModelSpec& spec, const ShardPlan& plan, int tp_rank, DType dtype, int64_t positions = 0);

// The same on a device: matrices row-major in `product_type`, keys and values in it, the residual and its sums in
// float32. Estimated from the shapes; no panels, and no pages of files: loading_bytes() is not meant for it.
PlaceMemory device_place_memory(const ModelSpec& spec, const ShardPlan& plan, int tp_rank, DType product_type,
                                int64_t positions = 0);

// Of pinned host memory through which one place's weights go to its device.
int64_t staging_bytes(int threads);

}  // namespace evalmpi::model

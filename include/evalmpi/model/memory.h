#pragma once

// Bytes, predicted from the spec and the shard plan before anything is allocated.

#include <cstdint>

#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/spec.h"

namespace evalmpi::model {

struct MemoryEstimate {
  int64_t weight_bytes = 0;  // this place's shard in `dtype`, norms and biases in float32, rotary tables
  int64_t key_value_bytes_per_position = 0;  // of one path, all layers, float32
  int64_t activation_bytes_per_row = 0;      // the most that is alive at once in a layer, for each row of a segment
  int64_t head_bytes_per_row = 0;            // for each row given to the head

  // A segment of `rows` rows, `paths` paths of `positions` positions, `head_rows` rows for the head.
  int64_t total_bytes(int64_t rows, int64_t paths, int64_t positions, int64_t head_rows) const {
    return weight_bytes + rows * activation_bytes_per_row + paths * positions * key_value_bytes_per_position +
           head_rows * head_bytes_per_row;
  }
};

// For the place of `tp_rank`, with weights kept in `dtype` and rotary tables of `positions` rows (0: the model's).
MemoryEstimate estimate_memory(const ModelSpec& spec, const ShardPlan& plan, int tp_rank, DType dtype,
                               int64_t positions = 0);

}  // namespace evalmpi::model

#pragma once

// MXFP4 as gpt-oss's checkpoints hold it (OCP Microscaling Formats 1.0): 32 neighbouring values of a row share a scale
// 2^(s - 127), an unsigned byte; each is 4 bits, a sign and one of 0, 0.5, 1, 1.5, 2, 3, 4, 6. The even ones are the
// low halves of the bytes. Every value is exact in bfloat16.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/tensor_table.h"

namespace evalmpi::model {

inline constexpr int64_t kMxfp4Block = 32;

// The tensor of scales beside one of blocks: NAME_blocks and NAME_scales.
std::string mxfp4_scales_name(const std::string& blocks_name);

// FAILS: kBadInput when one of the two is missing or of another shape or dtype than the row's.
void check_mxfp4(const Checkpoint& checkpoint, const std::string& blocks_name, const TensorRow& row);

// `slice` of the matrix of blocks `slice.index`, in rows and columns of values -> bfloat16 [rows, columns]; a scale of
// 255 gives NaNs, as the format says. FAILS: as check_mxfp4.
at::Tensor read_mxfp4(const Checkpoint& checkpoint, const std::string& blocks_name, const TensorRow& row,
                      const Slice& slice);

}  // namespace evalmpi::model

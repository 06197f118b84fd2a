#pragma once

// Norms, rotary positions and activations. Every function returns a new tensor (autograd may need its
// inputs). float32 CPU tensors that need no gradient go to the own kernels, whose bits depend on the row
// alone; everything else goes to ATen.

#include <ATen/core/Tensor.h>

#include "evalmpi/ops/linear.h"

namespace evalmpi::ops {

// x / sqrt(mean(x^2) + eps) * weight, per row (Llama's order: normalise in float32, then scale).
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps);

// (x - mean) / sqrt(variance + eps) * weight + bias, per row; biased variance; bias_D may be undefined.
at::Tensor layer_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, const at::Tensor& bias_D, double eps);

// Rotates the first 2 * cos.size(1) dimensions of every head in the rotate-half form: pairs (i, i + R) with
// R = cos.size(1); the other dimensions pass through.
//   x_TNH float32; positions_T int32; cos_PR, sin_PR float32 tables indexed by position
at::Tensor rotary(const at::Tensor& x_TNH, const at::Tensor& positions_T, const at::Tensor& cos_PR,
                  const at::Tensor& sin_PR);

// silu(gate) * up, silu(z) = z / (1 + exp(-z)).
at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF);

enum class Gelu { kErf, kTanh };
at::Tensor gelu(const at::Tensor& x_TF, Gelu kind);

// Rows of weight_VD for ids in [first_id, first_id + V); other ids give zero rows (another shard's). The result is
// float32.
at::Tensor embedding(const at::Tensor& weight_VD, const at::Tensor& ids_T, int64_t first_id);
// The same from the head's packed weight, for models that tie the two. ids_T int32.
at::Tensor embedding(const PackedLinear& weight_VD, const at::Tensor& ids_T, int64_t first_id);

}  // namespace evalmpi::ops

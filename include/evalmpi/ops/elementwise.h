#pragma once

// Norms, rotary positions and activations. Every function returns a new tensor (autograd may need its
// inputs). float32 CPU tensors and CUDA tensors (float32, bfloat16, float16) that need no gradient go to the own
// kernels, whose bits depend on the row alone; everything else goes to ATen. The kernels compute in float32 and round
// once; `out` is the type that this is rounded to: float32 on a CPU, on a device also what the products that read the
// rows multiply in.

#include <ATen/core/Tensor.h>

#include "evalmpi/ops/activation.h"
#include "evalmpi/ops/linear.h"

namespace evalmpi::ops {

// x / sqrt(mean(x^2) + eps) * weight, per row (Llama's order: normalise in float32, then scale).
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps, at::ScalarType out = at::kFloat);

// The same for rows that are cut over places: squares_T1 holds the sums of squares of whole rows of `of_width` values.
at::Tensor square_sums(const at::Tensor& x_TD);  // -> [T, 1] float32
at::Tensor rms_norm_of(const at::Tensor& x_TD, const at::Tensor& squares_T1, int64_t of_width,
                       const at::Tensor& weight_D, double eps, at::ScalarType out = at::kFloat);

// (x - mean) / sqrt(variance + eps) * weight + bias, per row; biased variance; bias_D may be undefined.
at::Tensor layer_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, const at::Tensor& bias_D, double eps,
                      at::ScalarType out = at::kFloat);
// Without a bias, for rows that are heads: row r has the weight r mod N.
at::Tensor layer_norm_of_heads(const at::Tensor& x_RH, const at::Tensor& weight_NH, double eps,
                               at::ScalarType out = at::kFloat);

// Rotary positions: cos and sin [positions, R], float32, turn 2 R dimensions of every head from `first` on: the pairs
// (i, i + R), or (2 i, 2 i + 1) where interleaved (GPT-J); the other dimensions pass through.
struct RotaryTable {
  at::Tensor cos_PR = {}, sin_PR = {};
  int64_t first = 0;
  bool is_interleaved = false;
};
//   x_TNH float32, on a device also 16-bit types, whose type the result has; positions_T int32, on x's device
at::Tensor rotary(const at::Tensor& x_TNH, const at::Tensor& positions_T, const RotaryTable& table);

at::Tensor activate(Activation kind, const at::Tensor& x_TF);
// activate(gate) * up. Both in the inputs' type.
at::Tensor activate_mul(Activation kind, const at::Tensor& gate_TF, const at::Tensor& up_TF);

// cap * tanh(scale * x / cap); scale * x for a cap of 0.
at::Tensor scale_and_cap(const at::Tensor& x_TV, double scale, double cap);

// Rows of weight_VD for ids in [first_id, first_id + V); other ids give zero rows (another shard's). The result is
// float32. ids_T: on the weight's device.
at::Tensor embedding(const at::Tensor& weight_VD, const at::Tensor& ids_T, int64_t first_id);
// The same from the head's packed weight, for models that tie the two. ids_T int32.
at::Tensor embedding(const PackedLinear& weight_VD, const at::Tensor& ids_T, int64_t first_id);

}  // namespace evalmpi::ops

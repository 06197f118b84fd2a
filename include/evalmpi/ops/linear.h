#pragma once

// y = x W^T + b, on packed weights (own CPU kernel) or on plain tensors (ATen: training, reference, GPU).
//
// Numerics of the packed form: each output is the ordered sum of fixed blocks of K, each block one chain of
// fused multiply-adds in ascending k. A row's bits depend on nothing but that row and the weight: not on
// the other rows, their number, the thread, the process, or the instruction set.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace evalmpi::ops {

// A weight [N, K] laid out for the inference kernel of its device: in column panels on a CPU, whose kernel widens to
// float32; row-major as it came on a CUDA device, where its dtype is the one multiplied in. Immutable and shared:
// copies are cheap and any number of threads may read it. Kept in the dtype it came in (float32, bfloat16, float16).
class PackedLinear {
 public:
  PackedLinear() = default;
  // weight_NK: on a CPU or a CUDA device, float32, bfloat16 or float16, any strides; N or K may be 0 (an empty shard).
  static PackedLinear pack(const at::Tensor& weight_NK);
  int64_t out_features() const;
  int64_t in_features() const;
  int64_t bytes() const;

  struct Storage;
  const Storage& storage() const { return *storage_; }

 private:
  std::shared_ptr<const Storage> storage_;
};

// How a device computes a product; a CPU knows only the first form of both.
struct ProductForm {
  at::ScalarType out = at::kFloat;  // of the result: float32, or the weight's dtype
  // The kernel is chosen for steps of decoding (64 rows) instead of long segments (2,048). It serves any number of
  // rows, but the two kernels may differ in bits: whoever wants equal bits asks for the same one for the same row each
  // time.
  bool few_rows = false;
};

// x_TK contiguous -> [T, N] in form.out. bias_N float32, may be undefined. K = 0 gives the bias (or zeros). On a CPU x
// and the result are float32. On a CUDA device x becomes the weight's dtype and sums are float32 (never TF32); the
// kernel is chosen for (N, K, dtypes, form) alone, so that a row's bits do not depend on the other rows.
at::Tensor linear(const at::Tensor& x_TK, const PackedLinear& weight_NK, const at::Tensor& bias_N,
                  const ProductForm& form = {});

// The same through ATen, differentiable, on x's device, in x's dtype.
at::Tensor linear(const at::Tensor& x_TK, const at::Tensor& weight_NK, const at::Tensor& bias_N);

}  // namespace evalmpi::ops

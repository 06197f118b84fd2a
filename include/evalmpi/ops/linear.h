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

// A weight [N, K] laid out in column panels for the CPU kernel. Immutable and shared: copies are cheap and
// any number of threads may read it. Kept in the dtype it came in (float32, bfloat16, float16); the kernel
// widens to float32.
class PackedLinear {
 public:
  PackedLinear() = default;
  // weight_NK: CPU tensor, float32, bfloat16 or float16, any strides; N or K may be 0 (an empty shard).
  static PackedLinear pack(const at::Tensor& weight_NK);
  int64_t out_features() const;
  int64_t in_features() const;
  int64_t bytes() const;

  struct Storage;
  const Storage& storage() const { return *storage_; }

 private:
  std::shared_ptr<const Storage> storage_;
};

// x_TK float32 contiguous -> [T, N] float32. bias_N may be undefined. K = 0 gives the bias (or zeros).
at::Tensor linear(const at::Tensor& x_TK, const PackedLinear& weight_NK, const at::Tensor& bias_N);

// The same through ATen, differentiable, on x's device, in x's dtype.
at::Tensor linear(const at::Tensor& x_TK, const at::Tensor& weight_NK, const at::Tensor& bias_N);

}  // namespace evalmpi::ops

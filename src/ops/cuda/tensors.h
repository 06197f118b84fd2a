#pragma once

// From tensors to what the launches take.

#include <ATen/core/Tensor.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>

#include <cstdint>

#include "evalmpi/base/error.h"
#include "launch.h"

namespace evalmpi::ops::cuda {

inline Stream stream_of(const at::Tensor& x) { return at::cuda::getCurrentCUDAStream(x.device().index()).stream(); }

// The device that kernels start on, for as long as it lives.
using OnDevice = c10::cuda::CUDAGuard;

inline DataType data_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return DataType::kFloat32;
    case at::kBFloat16: return DataType::kBFloat16;
    case at::kHalf: return DataType::kFloat16;
    default: fail(ExitCode::kInternal, "no CUDA kernel for type {}", c10::toString(type));
  }
}

// Contiguous and aligned as the kernels want it: a view into the middle of a tensor may be neither.
inline at::Tensor ready(const at::Tensor& x) {
  if (!x.defined()) return x;
  const at::Tensor whole = x.contiguous();
  return reinterpret_cast<uintptr_t>(whole.const_data_ptr()) % 16 == 0 ? whole : whole.clone();
}

}  // namespace evalmpi::ops::cuda

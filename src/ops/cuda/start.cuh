#pragma once

// Starting a kernel, and the element type that a DataType names.

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <cuda_runtime.h>

#include "launch.h"
#include "launch_error.h"

namespace evalmpi::ops::cuda {

template <class... Parameters, class... Arguments>
void start(const char* name, void (*kernel)(Parameters...), dim3 grid, int threads, size_t shared_bytes, Stream stream,
           Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaError_t error = cudaSuccess;
  constexpr size_t kAlwaysThereBytes = 48 << 10;
  if (shared_bytes > kAlwaysThereBytes) {
    error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shared_bytes));
  }
  if (error == cudaSuccess) {
    kernel<<<grid, threads, shared_bytes, static_cast<cudaStream_t>(stream)>>>(arguments...);
    error = cudaGetLastError();
  }
  if (error != cudaSuccess) fail_launch(name, cudaGetErrorString(error));
}

// f(T{}) with the element type that `type` names.
template <class F>
void with_type(DataType type, F f) {
  switch (type) {
    case DataType::kFloat32: return f(float{});
    case DataType::kBFloat16: return f(c10::BFloat16{});
    case DataType::kFloat16: return f(c10::Half{});
  }
}

inline unsigned blocks_for(int64_t elements, int64_t per_block) {
  return static_cast<unsigned>((elements + per_block - 1) / per_block);
}

}  // namespace evalmpi::ops::cuda

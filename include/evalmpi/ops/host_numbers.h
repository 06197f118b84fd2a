#pragma once

// Numbers that kernels read, from the host to where they run.

#include <ATen/core/Tensor.h>

namespace evalmpi::ops {

// A copy of `host` (on the CPU, contiguous) on `device`; on a CUDA device through pinned memory and the current
// stream, without waiting, so that the host's memory may change at once.
at::Tensor to_device(const at::Tensor& host, at::Device device);

// The same into `placed`, of the same shape and dtype.
void refill(const at::Tensor& host, const at::Tensor& placed);

}  // namespace evalmpi::ops

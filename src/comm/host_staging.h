#pragma once

// Tensors on their way through the host: copies in pinned memory for those on a device, the tensor itself for those on
// the CPU.

#include <ATen/core/Tensor.h>

namespace evalmpi::comm {

// x in the host's memory, contiguous, not seen by autograd. Waits for the device.
at::Tensor on_host(const at::Tensor& x);
// Uninitialised, of x's dtype, in the host's memory.
at::Tensor host_tensor(at::IntArrayRef shape, const at::Tensor& x);
// A host_tensor on x's device; does not wait for the copy.
at::Tensor to_device_of(const at::Tensor& x, const at::Tensor& host);

}  // namespace evalmpi::comm

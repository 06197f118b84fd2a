#include "host_staging.h"

#include <ATen/ops/empty.h>

namespace evalmpi::comm {

at::Tensor host_tensor(at::IntArrayRef shape, const at::Tensor& x) {
  return at::empty(shape, at::TensorOptions(at::kCPU).dtype(x.dtype()).pinned_memory(x.is_cuda()));
}

at::Tensor on_host(const at::Tensor& x) {
  if (x.device().is_cpu()) return x.detach().contiguous();
  return host_tensor(x.sizes(), x).copy_(x.detach());
}

// The allocator of pinned memory keeps `host` until the copy is done.
at::Tensor to_device_of(const at::Tensor& x, const at::Tensor& host) {
  if (x.device().is_cpu()) return host;
  return at::empty(host.sizes(), x.options()).copy_(host, /*non_blocking=*/true);
}

}  // namespace evalmpi::comm

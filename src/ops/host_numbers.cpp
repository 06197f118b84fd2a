#include "evalmpi/ops/host_numbers.h"

#include "cuda/cuda_ops.h"
#include "evalmpi/base/error.h"

namespace evalmpi::ops {

at::Tensor to_device(const at::Tensor& host, at::Device device) {
  EVALMPI_CHECK(host.device().is_cpu() && host.is_contiguous());
  return device.is_cpu() ? host.clone() : cuda::to_device(host, device);
}

void refill(const at::Tensor& host, const at::Tensor& placed) {
  EVALMPI_CHECK(host.device().is_cpu() && host.is_contiguous() && placed.is_contiguous());
  EVALMPI_CHECK(host.sizes() == placed.sizes() && host.scalar_type() == placed.scalar_type());
  if (placed.device().is_cpu()) {
    placed.copy_(host);
  } else {
    cuda::refill(host, placed);
  }
}

}  // namespace evalmpi::ops

// A build without CUDA: there are no CUDA tensors, so nothing here can be reached.

#include "cuda_ops.h"
#include "evalmpi/base/error.h"

namespace evalmpi::ops::cuda {
namespace {

[[noreturn]] void absent() {
  fail(ExitCode::kUnavailable, "this evalmpi was built without CUDA; build it with -DEVALMPI_CUDA=ON");
}

}  // namespace

void synchronise(at::Device) {}
at::Tensor normalise(const at::Tensor&, const at::Tensor&, const NormRule&, at::ScalarType) { absent(); }
at::Tensor square_sums(const at::Tensor&) { absent(); }
at::Tensor rotary(const at::Tensor&, const at::Tensor&, const RotaryTable&) { absent(); }
at::Tensor activate(Activation, const at::Tensor&) { absent(); }
at::Tensor activate_mul(Activation, const at::Tensor&, const at::Tensor&) { absent(); }
at::Tensor scale_and_cap(const at::Tensor&, double, double) { absent(); }
at::Tensor embedding(const at::Tensor&, const at::Tensor&, int64_t) { absent(); }
at::Tensor linear(const at::Tensor&, const at::Tensor&, const at::Tensor&, const ProductForm&) { absent(); }
at::Tensor launch_head(const at::Tensor&, const at::Tensor&, const LogitRule&, const at::Tensor&, const at::Tensor&) {
  absent();
}
Routes route(const at::Tensor&, const RouteRule&) { absent(); }
void add_rows(at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&) { absent(); }
void DevicePlanDeleter::operator()(DevicePlan*) const {}
DevicePlanHandle make_device_plan(DeviceStore&, std::span<const AttentionSpan>, int64_t, std::span<const int32_t>,
                                  int64_t) {
  absent();
}
bool fits(const DevicePlan&, const DeviceStore&) { absent(); }
void refill(DevicePlan&, DeviceStore&, std::span<const AttentionSpan>) { absent(); }
at::Tensor attention(const at::Tensor&, const at::Tensor&, const at::Tensor&, const DevicePlan&, DeviceStore&, int64_t,
                     const AttentionRule&) {
  absent();
}
at::Tensor to_device(const at::Tensor&, at::Device) { absent(); }
void refill(const at::Tensor&, const at::Tensor&) { absent(); }
const char* kernel_class() { absent(); }

}  // namespace evalmpi::ops::cuda

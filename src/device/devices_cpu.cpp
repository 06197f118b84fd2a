// A build without CUDA.
#include "evalmpi/device/devices.h"

namespace evalmpi::device {

std::vector<Device> local_devices() { return {local_cpu()}; }

std::string no_cuda_reason() { return "this evalmpi was built without CUDA"; }

void bind(const Device&) {}

}  // namespace evalmpi::device

#pragma once

// Tests on a GPU (evalmpi_gpu_test in CMake): EVALMPI_NEEDS_CUDA() first; they skip, saying why, where there is none.

#include <gtest/gtest.h>

#include "evalmpi/base/error.h"
#include "evalmpi/device/devices.h"

namespace evalmpi {

// Binds this thread to the first CUDA device. Empty, or why there is none.
inline std::string reason_without_cuda() {
  try {
    device::bind(device::choose_devices(device::Choice::kCuda, {}).front());
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace evalmpi

#define EVALMPI_NEEDS_CUDA()                                                \
  do {                                                                      \
    const std::string reason = evalmpi::reason_without_cuda();              \
    if (!reason.empty()) GTEST_SKIP() << "needs an NVIDIA GPU: " << reason; \
  } while (false)

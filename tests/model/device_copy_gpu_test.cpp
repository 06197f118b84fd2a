// Weights through pinned buffers to a GPU.

#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <vector>

#include "cuda_device.h"
#include "device_copy.h"

namespace evalmpi::model {
namespace {

TEST(CopyToDevice, brings_the_same_values_to_a_gpu) {
  EVALMPI_NEEDS_CUDA();
  std::vector<at::Tensor> hosts = {at::randn({7}), at::randn({0, 3}),
                                   at::randn({3000, 9000})};  // the last: several buffers
  hosts.push_back(hosts.back().narrow(1, 1000, 5000));
  hosts.push_back(hosts.back().t());
  for (const at::Tensor& host : hosts) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const at::Tensor copy = copy_to_device(host, at::Device(at::kCUDA, 0), type);
      EXPECT_TRUE(copy.cpu().equal(host.to(type))) << host.sizes();
    }
  }
  release_staging();
}

}  // namespace
}  // namespace evalmpi::model

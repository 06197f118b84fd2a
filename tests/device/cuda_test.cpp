#include <gtest/gtest.h>

#include <set>

#include "cuda_device.h"
#include "evalmpi/device/devices.h"

namespace evalmpi::device {
namespace {

TEST(CudaDevices, AreDescribed) {
  EVALMPI_NEEDS_CUDA();
  const std::vector<Device> devices = local_devices();
  ASSERT_GE(devices.size(), 2u);
  std::set<std::string> identities;
  for (size_t i = 1; i < devices.size(); ++i) {
    EXPECT_EQ(devices[i].kind, Kind::kCuda);
    EXPECT_EQ(devices[i].index, static_cast<int>(i) - 1);
    EXPECT_FALSE(devices[i].name.empty());
    EXPECT_GT(devices[i].memory_bytes, int64_t{1} << 30);
    EXPECT_GE(devices[i].multiprocessors, 1);
    EXPECT_GE(devices[i].compute_capability, 50);
    EXPECT_TRUE(identities.insert(devices[i].identity).second) << devices[i].identity;
  }
}

}  // namespace
}  // namespace evalmpi::device

// Ranks on GPUs.

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <thread>

#include "cuda_device.h"
#include "evalmpi/comm/bound_devices.h"
#include "evalmpi/comm/mesh.h"
#include "group_checks.h"
#include "mpi_session.h"

namespace evalmpi::comm {
namespace {

// Sums on the devices have the bits of the same sums on the CPU, which are those of one rank with as many places.
void check_sums_on_devices(Mesh& mesh) {
  std::vector<std::thread> threads;
  for (LocalPlace& place : mesh.places) {
    threads.emplace_back([&place] {
      device::bind(place.device);
      const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(place.device.index));
      Communicator& group = place.lanes.at(0);
      for (const int64_t n : {1, 4097, 65537, 200003}) {
        const at::Tensor x = addends(group.rank(), n);
        EXPECT_TRUE(at::equal(group.all_reduce_sum(x.to(device)).cpu(), group.all_reduce_sum(x))) << n;
      }
      EXPECT_EQ(wrong_sums(group, 4097), 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(CudaRanks, ShareOneDeviceThroughTheHost) {
  EVALMPI_NEEDS_CUDA();
  Session& session = test_session();
  const std::vector<device::Device> first = {device::choose_devices(device::Choice::kCuda, {}).front()};
  for (const int tp : {session.size(), 2 * session.size()}) {  // one place on each rank, and two
    Mesh mesh = make_mesh(session, {.tp = tp, .dp = 1, .devices = first, .share_devices = true});
    EXPECT_NE(mesh.description.find("shared"), std::string::npos) << mesh.description;
    check_sums_on_devices(mesh);
  }
}

TEST(CudaRanks, SumOverNccl) {
  EVALMPI_NEEDS_CUDA();
  Session& session = test_session();
  const BoundDevices bound = bind_devices(device::Choice::kCuda, session.launch(), std::nullopt);
  if (session.size() == 1 || static_cast<int>(bound.devices.size()) < session.size()) {
    GTEST_SKIP() << "needs several ranks and an NVIDIA GPU for each: " << session.size() << " ranks, "
                 << bound.devices.size() << " GPUs";
  }
  Mesh mesh = make_mesh(session, {.tp = session.size(), .dp = 1, .devices = bound.devices});
  EXPECT_NE(mesh.description.find("NCCL"), std::string::npos) << mesh.description;
  check_sums_on_devices(mesh);
}

}  // namespace
}  // namespace evalmpi::comm

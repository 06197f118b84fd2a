// Groups of places on GPUs. Rank r of several takes device r modulo their number.

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <thread>

#include "cuda_device.h"
#include "group_checks.h"
#include "nccl_group.h"

namespace evalmpi::comm {
namespace {

std::vector<device::Device> cuda_devices() { return device::choose_devices(device::Choice::kCuda, {}); }

at::Device at_device(const device::Device& device) { return {at::kCUDA, static_cast<at::DeviceIndex>(device.index)}; }

// Runs f for `size` members, member r bound to device r modulo their number.
template <typename F>
void in_threads(std::vector<Communicator> members, F f) {
  const std::vector<device::Device> devices = cuda_devices();
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < members.size(); ++rank) {
    threads.emplace_back([&, rank] {
      const device::Device& device = devices[rank % devices.size()];
      device::bind(device);
      f(members[rank], at_device(device));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// The bits of the same sums on the host are checked elsewhere; here those on the device are compared with them.
void check_like_host(Communicator& group, at::Device device) {
  for (const int64_t n : {0, 1, 2, 4097, 65536, 65537, 200003}) {
    const at::Tensor x = addends(group.rank(), n);
    const at::Tensor on_device = group.all_reduce_sum(x.to(device));
    EXPECT_EQ(on_device.device(), device);
    EXPECT_TRUE(at::equal(on_device.cpu(), group.all_reduce_sum(x))) << n;
    EXPECT_TRUE(at::equal(group.all_gather(x.to(device)).cpu(), group.all_gather(x))) << n;
  }
  const at::Tensor strided = at::full({30, 40}, group.rank() + 1.0).to(device).t();
  EXPECT_TRUE(at::equal(group.all_reduce_sum(strided).cpu(), group.all_reduce_sum(strided.cpu())));
}

TEST(CudaCommunicator, StagedSumsHaveTheBitsOfTheHost) {
  EVALMPI_NEEDS_CUDA();
  in_threads(Communicator::threads(3), [](Communicator& group, at::Device device) { check_like_host(group, device); });
}

TEST(CudaCommunicator, NcclSumsHaveTheBitsOfTheHost) {
  EVALMPI_NEEDS_CUDA();
  const auto devices = static_cast<int>(cuda_devices().size());
  if (devices < 2) GTEST_SKIP() << "needs two NVIDIA GPUs: this machine has one";
  std::vector<Communicator> members;
  for (std::unique_ptr<Backend>& backend : make_thread_backends(devices)) {
    auto link = std::make_unique<NcclGroup>(nccl_library(), *backend, NcclGroup::Options{});
    members.emplace_back(std::move(backend), std::move(link));
  }
  in_threads(std::move(members), [](Communicator& group, at::Device device) { check_like_host(group, device); });
}

// A peer that never comes: the deadline ends what is under way.
TEST(CudaCommunicator, NcclGivesUpAtTheDeadline) {
  EVALMPI_NEEDS_CUDA();
  if (cuda_devices().size() < 2) GTEST_SKIP() << "needs two NVIDIA GPUs: this machine has one";
  std::vector<std::unique_ptr<Backend>> backends = make_thread_backends(2);
  std::vector<Communicator> members;
  for (std::unique_ptr<Backend>& backend : backends) {
    NcclGroup::Options options;
    options.deadline = std::chrono::seconds(3);
    auto link = std::make_unique<NcclGroup>(nccl_library(), *backend, options);
    members.emplace_back(std::move(backend), std::move(link));
  }
  in_threads(std::move(members), [](Communicator& group, at::Device device) {
    const at::Tensor x = at::full({8}, 1.0F).to(device);
    EXPECT_EQ(group.all_reduce_sum(x).cpu()[0].item<float>(), 2);
    if (group.rank() == 1) return;
    const at::Tensor sum = group.all_reduce_sum(x);
    sum.cpu();  // returns when the link is aborted
    EXPECT_THROW(group.all_reduce_sum(x), Error);
  });
}

}  // namespace
}  // namespace evalmpi::comm

// Places on CUDA devices: who has which.

#include <gtest/gtest.h>

#include "error_code.h"
#include "evalmpi/comm/bound_devices.h"
#include "evalmpi/comm/mesh.h"

namespace evalmpi::comm {
namespace {

using Texts = std::vector<std::string>;

RankOffer rank_with(Texts devices, int host = 0) {
  return {.host = host, .cpus = {0, 1}, .host_name = "host" + std::to_string(host), .devices = std::move(devices)};
}

Texts devices_of(const LayoutPlan& plan) {
  Texts devices;
  for (const LayoutPlan::Place& place : plan.places) devices.push_back(place.identity);
  return devices;
}

std::string refusal(const LayoutRequest& request, const std::vector<RankOffer>& ranks) {
  std::string message;
  EXPECT_EQ(code_of([&] { plan_layout(request, ranks); }, &message), ExitCode::kUsage);
  return message;
}

TEST(DeviceLayout, OneProcessTakesADeviceForEachPlace) {
  const LayoutPlan plan = plan_layout({.tp = 3}, std::vector{rank_with({"a", "b", "c", "d"})});
  EXPECT_EQ(devices_of(plan), (Texts{"a", "b", "c"}));
  EXPECT_EQ(plan.lanes_of_replica, std::vector<int>{1});
  EXPECT_EQ(plan.description,
            "1 replica of 3 places (tp 3) on 1 rank of 1 host, 1 lane, up to 3 places per rank, on 3 CUDA devices, "
            "sums through the host");
  EXPECT_EQ(plan.warnings, Texts{"1 CUDA device has nothing to do; more replicas (--dp) would use it"});
}

TEST(DeviceLayout, RanksThatSeeAllShareThemInRuns) {
  // As device::choose_devices turns the list for local ranks 0 and 1 of 2.
  const std::vector ranks = {rank_with({"a", "b", "c", "d"}), rank_with({"c", "d", "a", "b"})};
  EXPECT_EQ(devices_of(plan_layout({.tp = 4}, ranks)), (Texts{"a", "b", "c", "d"}));
  EXPECT_EQ(devices_of(plan_layout({.tp = 2}, ranks)), (Texts{"a", "c"}));
  EXPECT_NE(refusal({.tp = 5}, ranks).find("2 ranks can hold at most 4"), std::string::npos);
  EXPECT_NE(refusal({.tp = 3, .places_per_rank = 3}, ranks).find("--devices-per-rank 3"), std::string::npos);
}

TEST(DeviceLayout, RanksThatSeeOnlyTheirOwn) {
  const std::vector ranks = {rank_with({"a"}), rank_with({"b"}), rank_with({"a"}, 1), rank_with({"b"}, 1)};
  const LayoutPlan plan = plan_layout({.tp = 2}, ranks);
  EXPECT_EQ(plan.dp, 2);
  EXPECT_EQ(devices_of(plan), (Texts{"a", "b", "a", "b"}));
  EXPECT_EQ(
      plan.description,
      "2 replicas of 2 places (tp 2) on 4 ranks of 2 hosts, 1 lane each, on 4 CUDA devices, sums through the host");
}

TEST(DeviceLayout, TwoRanksOnOneDeviceAreRefusedUnlessMeant) {
  const std::vector ranks = {rank_with({"a"}), rank_with({"GPU-1"}, 1), rank_with({"GPU-1"}, 1)};
  const std::string message = refusal({.tp = 1}, ranks);
  for (const char* part : {"ranks 1 and 2 on host1", "GPU-1", "--gpus-per-task=1", "--share-devices"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  const LayoutPlan plan = plan_layout({.tp = 2, .dp = 1, .share_devices = true}, std::vector{ranks[1], ranks[2]});
  EXPECT_EQ(devices_of(plan), (Texts{"GPU-1", "GPU-1"}));
  EXPECT_NE(plan.description.find("on 1 shared CUDA device"), std::string::npos) << plan.description;
}

TEST(DeviceLayout, OneRankMayHoldTwoPlacesOnOneDeviceWhenMeant) {
  const std::vector ranks = {rank_with({"a"})};
  EXPECT_NE(refusal({.tp = 2}, ranks).find("at most 1"), std::string::npos);
  const LayoutPlan plan = plan_layout({.tp = 2, .share_devices = true}, ranks);
  EXPECT_EQ(devices_of(plan), (Texts{"a", "a"}));
  EXPECT_EQ(plan.places[1].device, 0);
}

TEST(DeviceLayout, SomeWithoutADeviceAreRefused) {
  const std::string message = refusal({}, {rank_with({}), rank_with({"a"}, 1)});
  EXPECT_NE(message.find("rank 1 on host1 has a CUDA device, but rank 0 on host0 has none"), std::string::npos)
      << message;
  EXPECT_NE(message.find("--device cpu"), std::string::npos);
}

TEST(DeviceLayout, NcclWhereAllHaveItAndNoDeviceIsShared) {
  std::vector ranks = {rank_with({"a"}), rank_with({"b"})};
  EXPECT_FALSE(plan_layout({.tp = 2}, ranks).uses_nccl);
  ranks[0].has_nccl = true;
  EXPECT_FALSE(plan_layout({.tp = 2}, ranks).uses_nccl);
  ranks[1].has_nccl = true;
  EXPECT_TRUE(plan_layout({.tp = 2}, ranks).uses_nccl);
  EXPECT_FALSE(plan_layout({.tp = 1}, ranks).uses_nccl);
  EXPECT_FALSE(plan_layout({.tp = 2, .host_staged = true}, ranks).uses_nccl);
  ranks[1].devices = {"a"};
  EXPECT_FALSE(plan_layout({.tp = 2, .share_devices = true}, ranks).uses_nccl);
}

TEST(DeviceLayout, OverlappingListsAreTakenOnce) {
  const std::vector ranks = {rank_with({"a", "c"}), rank_with({"b", "c"})};
  EXPECT_EQ(devices_of(plan_layout({.tp = 3}, ranks)), (Texts{"a", "c", "b"}));
}

TEST(BoundDevices, TheCpuNeedsNothing) {
  const BoundDevices bound = bind_devices(device::Choice::kCpu, {}, std::nullopt);
  EXPECT_FALSE(bound.failure);
  ASSERT_EQ(bound.devices.size(), 1U);
  EXPECT_EQ(bound.devices.front().kind, device::Kind::kCpu);
}

TEST(BoundDevices, AFailureIsKeptForAll) {
  setenv("CUDA_VISIBLE_DEVICES", "-1", 1);  // also where there is a GPU
  const BoundDevices bound = bind_devices(device::Choice::kCuda, {}, std::nullopt);
  ASSERT_TRUE(bound.failure);
  EXPECT_EQ(bound.failure->code, ExitCode::kUnavailable);
  EXPECT_EQ(bound.failure->message.find("--device cuda: "), 0U) << bound.failure->message;
}

}  // namespace
}  // namespace evalmpi::comm

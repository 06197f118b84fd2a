#include "evalmpi/device/devices.h"

#include <gtest/gtest.h>

#include "cuda_problem.h"
#include "error_code.h"
#include "visible.h"

namespace evalmpi::device {
namespace {

std::vector<Device> host_with(int cuda_devices) {
  std::vector<Device> devices = {Device{.kind = Kind::kCpu, .name = "cpu"}};
  for (int i = 0; i < cuda_devices; ++i) devices.push_back({.kind = Kind::kCuda, .index = i, .name = "gpu"});
  return devices;
}

std::vector<int> chosen(int visible, const RankOnHost& rank) {
  std::vector<int> indices;
  for (const Device& device : choose_devices(Choice::kAuto, rank, host_with(visible))) {
    EXPECT_EQ(device.kind, Kind::kCuda);
    indices.push_back(device.index);
  }
  return indices;
}

using Indices = std::vector<int>;

TEST(ChooseDevices, BeginsAtTheLocalRank) {
  EXPECT_EQ(chosen(4, {}), (Indices{0, 1, 2, 3}));
  EXPECT_EQ(chosen(4, {.local_rank = 2}), (Indices{2, 3, 0, 1}));
}

TEST(ChooseDevices, SharesTheHostInEqualRuns) {
  EXPECT_EQ(chosen(8, {.local_rank = 1, .local_size = 2}).front(), 4);
  EXPECT_EQ(chosen(8, {.local_rank = 2, .local_size = 3}).front(), 4);
  EXPECT_EQ(chosen(2, {.local_rank = 1, .local_size = 4}).front(), 1);
  EXPECT_EQ(chosen(2, {.local_rank = 2, .local_size = 4}).front(), 0);  // who shares is found out later
  EXPECT_EQ(chosen(8, {.local_rank = 1, .local_size = 2, .devices_per_rank = 2}).front(), 2);
}

TEST(ChooseDevices, TheOnlyOneVisibleIsTaken) {
  EXPECT_EQ(chosen(1, {.local_rank = 3, .local_size = 4}), (Indices{0}));
}

TEST(ChooseDevices, CpuWhereAskedForOrNothingElse) {
  EXPECT_EQ(choose_devices(Choice::kAuto, {}, host_with(0)).front().kind, Kind::kCpu);
  const std::vector<Device> cpu = choose_devices(Choice::kCpu, {.local_rank = 1}, host_with(2));
  ASSERT_EQ(cpu.size(), 1u);
  EXPECT_EQ(cpu.front().kind, Kind::kCpu);
  EXPECT_EQ(code_of([] { choose_devices(Choice::kCuda, {}, host_with(0)); }), ExitCode::kUnavailable);
}

TEST(ChooseDevices, ReadsTheOption) {
  EXPECT_EQ(parse_choice("cuda"), Choice::kCuda);
  EXPECT_EQ(code_of([] { parse_choice("gpu"); }), ExitCode::kUsage);
}

using Texts = std::vector<std::string>;

TEST(VisibleDevices, AreReadAsCudaReadsThem) {
  EXPECT_EQ(parse_visible_devices("0, 2").entries, (Texts{"0", "2"}));
  EXPECT_EQ(parse_visible_devices("GPU-8a2f,1").entries, (Texts{"GPU-8a2f", "1"}));
  EXPECT_TRUE(parse_visible_devices("MIG-1c2d").has_mig);
  EXPECT_TRUE(parse_visible_devices("").entries.empty());
  EXPECT_TRUE(parse_visible_devices("").stopped_at.empty());
  EXPECT_EQ(parse_visible_devices("-1").stopped_at, "-1");
  const VisibleDevices cut = parse_visible_devices("0,-1,2");  // what follows a bad entry is not seen
  EXPECT_EQ(cut.entries, Texts{"0"});
  EXPECT_EQ(cut.stopped_at, "-1");
  EXPECT_EQ(parse_visible_devices("1,").stopped_at, ",");
  EXPECT_EQ(parse_visible_devices("99999999999999999999").stopped_at, "99999999999999999999");
}

TEST(VisibleDevices, AreExplained) {
  EXPECT_NE(explain_visible_devices("").find("hides all"), std::string::npos);
  EXPECT_NE(explain_visible_devices("-1").find("hides all"), std::string::npos);
  EXPECT_NE(explain_visible_devices("NoDevFiles").find("Slurm"), std::string::npos);
  EXPECT_NE(explain_visible_devices("7").find("no such device"), std::string::npos);
  EXPECT_NE(explain_visible_devices(std::nullopt).find("not set"), std::string::npos);
}

TEST(VisibleDevices, EachRankTakesItsMigInstance) {
  EXPECT_EQ(narrowed_visible_devices("MIG-a,MIG-b", {.local_rank = 1}), "MIG-b");
  EXPECT_EQ(narrowed_visible_devices("MIG-a,MIG-b", {.local_rank = 2}), "MIG-a");
  EXPECT_EQ(narrowed_visible_devices("MIG-a", {.local_rank = 1}), std::nullopt);
  EXPECT_EQ(narrowed_visible_devices("0,1", {.local_rank = 1}), std::nullopt);
}

TEST(CudaProblem, NoDriverIsNotAnOldDriver) {
  EXPECT_TRUE(means_no_device(35, {.driver = 0, .runtime = 13000}));
  EXPECT_FALSE(means_no_device(35, {.driver = 12020, .runtime = 13000}));
  EXPECT_TRUE(means_no_device(100, {.driver = 13000, .runtime = 13000}));
  EXPECT_NE(
      cuda_problem(35, "", {.driver = 12020, .runtime = 13000}).find("for CUDA 12.2, but this program needs 13.0"),
      std::string::npos);
  EXPECT_NE(cuda_problem(35, "", {.driver = 0, .runtime = 13000}).find("no NVIDIA driver"), std::string::npos);
}

TEST(CudaProblem, UnknownCodesKeepCudasWords) {
  EXPECT_NE(cuda_problem(46, "busy", {}).find("exclusive process"), std::string::npos);
  EXPECT_EQ(cuda_problem(719, "unspecified launch failure", {}), "CUDA says: unspecified launch failure (error 719)");
}

TEST(CudaProblem, KernelsRunFromTheLowestCompiledCapabilityOn) {
  EXPECT_EQ(capability_problem(80, "80,90,100"), "");
  EXPECT_EQ(capability_problem(103, "80,90,100"), "");
  EXPECT_EQ(capability_problem(75, "75-real"), "");
  EXPECT_NE(capability_problem(75, "80,90,100").find("7.5"), std::string::npos);
}

}  // namespace
}  // namespace evalmpi::device

#include "evalmpi/device/sampler.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <thread>

namespace evalmpi::device {
namespace {

using std::chrono::milliseconds;

std::vector<Device> devices(const std::vector<std::string>& identities) {
  std::vector<Device> all = {{.kind = Kind::kCpu, .name = "cpu"}};
  for (const std::string& identity : identities) {
    all.push_back({.kind = Kind::kCuda, .name = "gpu", .identity = identity});
  }
  return all;
}

std::vector<DeviceFigures> after(const Sampler& sampler, int64_t samples) {
  while (sampler.figures().front().samples < samples) std::this_thread::yield();
  return sampler.figures();
}

class SamplerTest : public ::testing::Test {
 protected:
  void SetUp() override { setenv("EVALMPI_NVML_LIBRARY", FAKE_NVML, 1); }
  void TearDown() override { unsetenv("EVALMPI_NVML_LIBRARY"); }
};

TEST_F(SamplerTest, SumsUpWhatItSaw) {
  const Sampler sampler(devices({"GPU-1"}), milliseconds(0));
  EXPECT_EQ(sampler.driver_version(), "580.65.06");
  EXPECT_EQ(sampler.problem(), "");
  const DeviceFigures seen = after(sampler, 6).at(0);  // four with answers
  EXPECT_EQ(seen.name, "gpu");
  EXPECT_EQ(seen.memory_total_bytes, 100);
  EXPECT_EQ(seen.memory_used_bytes_max, 70);
  EXPECT_EQ(seen.utilisation_percent_mean, 50);
  EXPECT_EQ(seen.utilisation_percent_max, 100);
  EXPECT_DOUBLE_EQ(seen.power_watts_mean, 200);
  EXPECT_DOUBLE_EQ(seen.power_watts_max, 300);
  EXPECT_EQ(seen.sm_clock_mhz_mean, 1500);
  EXPECT_EQ(seen.sm_clock_mhz_min, 1200);
  EXPECT_EQ(seen.sm_clock_mhz_max, 1980);
  EXPECT_EQ(seen.temperature_celsius_max, 71);
  EXPECT_EQ(seen.throttled_samples, 2);
  EXPECT_EQ(seen.throttle_reasons, "power cap, thermal (software), thermal (hardware)");
  EXPECT_EQ(seen.ecc_corrected, 3);
  EXPECT_EQ(seen.ecc_uncorrected, 0);
}

TEST_F(SamplerTest, WhatIsNotSaidIsAbsent) {
  const Sampler sampler(devices({"GPU-2"}), milliseconds(0));  // a MIG instance
  const DeviceFigures seen = after(sampler, 2).at(0);
  EXPECT_EQ(seen.memory_used_bytes_max, 100);
  EXPECT_TRUE(std::isnan(seen.power_watts_mean));
  EXPECT_TRUE(std::isnan(seen.sm_clock_mhz_min));
  EXPECT_EQ(seen.throttled_samples, -1);
  EXPECT_EQ(seen.ecc_uncorrected, -1);
}

TEST_F(SamplerTest, EndsWithItsThread) {
  void* fake = dlopen(FAKE_NVML, RTLD_NOW);
  ASSERT_NE(fake, nullptr);
  const auto open_count = reinterpret_cast<int (*)()>(dlsym(fake, "fake_nvml_open_count"));
  {
    Sampler sampler(devices({"GPU-1"}), std::chrono::hours(1));  // a waiting thread is woken
    after(sampler, 1);
    EXPECT_EQ(open_count(), 1);
    const Sampler moved = std::move(sampler);
    EXPECT_EQ(moved.figures().size(), 1u);
  }
  EXPECT_EQ(open_count(), 0);
  dlclose(fake);
}

TEST_F(SamplerTest, UnknownDevicesAreNamed) {
  const Sampler sampler(devices({"GPU-9"}));
  EXPECT_TRUE(sampler.figures().empty());
  EXPECT_NE(sampler.problem().find("GPU-9"), std::string::npos);
}

TEST(Sampler, WithoutNvmlThereAreNoFigures) {
  setenv("EVALMPI_NVML_LIBRARY", "/nonexistent/libnvidia-ml.so.1", 1);
  const Sampler sampler(devices({"GPU-1"}));
  unsetenv("EVALMPI_NVML_LIBRARY");
  EXPECT_TRUE(sampler.figures().empty());
  EXPECT_NE(sampler.problem().find("/nonexistent"), std::string::npos);
  EXPECT_TRUE(Sampler(devices({})).figures().empty());
}

}  // namespace
}  // namespace evalmpi::device

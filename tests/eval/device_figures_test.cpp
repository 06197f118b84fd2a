#include "device_figures.h"

#include <gtest/gtest.h>

namespace evalmpi::eval {
namespace {

TEST(DeviceFigures, are_told_as_far_as_they_are_known) {
  device::DeviceFigures figures;
  figures.name = "NVIDIA X";
  EXPECT_EQ(in_words(to_json(figures)), "NVIDIA X: NVML says nothing of it");
  EXPECT_TRUE(to_json(figures).at("power_watts_max").is_null());
  EXPECT_TRUE(to_json(figures).at("ecc_corrected").is_null());
  figures.samples = 9;
  figures.utilisation_percent_mean = 93.06;
  figures.power_watts_mean = 690.2;
  figures.power_watts_max = 712;
  figures.throttled_samples = 0;
  EXPECT_EQ(in_words(to_json(figures)), "NVIDIA X: busy 93.1 % of the time, 690 W (712 at most)");
  figures.throttled_samples = 2;
  figures.throttle_reasons = "power cap";
  figures.ecc_uncorrected = 1;
  EXPECT_EQ(in_words(to_json(figures)),
            "NVIDIA X: busy 93.1 % of the time, 690 W (712 at most), slowed down in 2 of 9 samples: power cap, 1 "
            "memory errors that could not be corrected: its results are not to be trusted");
}

}  // namespace
}  // namespace evalmpi::eval

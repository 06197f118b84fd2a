#pragma once

// What CUDA devices do while a rank works, read from NVML (libnvidia-ml.so.1, which comes with the driver) by a thread
// of its own. Where there is no NVML, or it cannot answer something, nothing fails: the figure is absent.

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evalmpi/device/devices.h"

namespace evalmpi::device {

// A device from the first sample to the last. NaN and -1: NVML does not say (with MIG most of it).
struct DeviceFigures {
  static constexpr double kAbsent = std::numeric_limits<double>::quiet_NaN();
  std::string identity, name;
  int64_t samples = 0;
  int64_t memory_total_bytes = -1;
  int64_t memory_used_bytes_max = -1;                                            // by all programs on it
  double utilisation_percent_mean = kAbsent, utilisation_percent_max = kAbsent;  // of time, not of its rate
  double power_watts_mean = kAbsent, power_watts_max = kAbsent;
  double sm_clock_mhz_mean = kAbsent, sm_clock_mhz_min = kAbsent, sm_clock_mhz_max = kAbsent;
  double temperature_celsius_max = kAbsent;
  int64_t throttled_samples = -1;                    // clocks held down by power, heat or the board
  std::string throttle_reasons;                      // of those: "power cap, thermal (hardware)"; empty for none
  int64_t ecc_corrected = -1, ecc_uncorrected = -1;  // errors since the first sample
};

class Sampler {
 public:
  // Reads the CUDA devices among `devices` now and then in this rhythm, until it is destroyed.
  explicit Sampler(std::span<const Device> devices, std::chrono::milliseconds period = std::chrono::seconds(1));
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;
  ~Sampler();

  // Up to now, in the order of the devices; empty where there is no NVML. Safe from any thread.
  std::vector<DeviceFigures> figures() const;
  std::string driver_version() const;  // "580.65.06"; empty where there is no NVML
  std::string problem() const;         // why there are no figures; empty when there are

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace evalmpi::device

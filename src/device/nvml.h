#pragma once

// The calls of NVML that evalmpi makes. The library is loaded when it is first wanted; its C interface is stable, so
// the few types are written down here and no header of NVIDIA's is needed.

#include <memory>
#include <optional>
#include <string>

namespace evalmpi::device {

class Nvml {
 public:
  using Handle = void*;

  // One moment of a device; absent where NVML does not say.
  struct Reading {
    std::optional<unsigned long long> memory_total_bytes, memory_used_bytes;
    std::optional<unsigned> utilisation_percent, power_milliwatts, sm_clock_mhz, temperature_celsius;
    std::optional<unsigned long long> throttle_reasons;  // bits, NVML's
    std::optional<unsigned long long> ecc_corrected, ecc_uncorrected;
  };

  // libnvidia-ml.so.1, or the file that the environment variable EVALMPI_NVML_LIBRARY names. Nothing and *why where it
  // cannot be used.
  static std::unique_ptr<Nvml> load(std::string* why);
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;
  ~Nvml();

  std::string driver_version() const;
  // identity: "GPU-<uuid>", with MIG the instance's uuid.
  std::optional<Handle> find(const std::string& identity) const;
  Reading read(Handle device) const;

 private:
  Nvml() = default;
  struct Calls;
  std::unique_ptr<Calls> calls_;
};

}  // namespace evalmpi::device

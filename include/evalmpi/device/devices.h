#pragma once

// The devices that this rank can drive.

#include <cstdint>
#include <string>
#include <vector>

namespace evalmpi::device {

enum class Kind { kCpu, kCuda };

struct Device {
  Kind kind = Kind::kCpu;
  int index = 0;     // among the visible devices of this kind
  std::string name;  // as the hardware calls itself; part of the numerics class
  int64_t memory_bytes = 0;
};

// In order of index. A build without CUDA has one: the CPU.
std::vector<Device> local_devices();

}  // namespace evalmpi::device

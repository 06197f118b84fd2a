#pragma once

// CUDA_VISIBLE_DEVICES as CUDA reads it.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/device/devices.h"

namespace evalmpi::device {

// The entries up to the first that is no index, GPU-... or MIG-...; CUDA ignores the rest.
struct VisibleDevices {
  std::vector<std::string> entries;
  std::string stopped_at;  // the first bad entry; empty when there is none
  bool has_mig = false;
};
VisibleDevices parse_visible_devices(std::string_view value);

// Why a process with this value (absent: not set) may see no device, for a message.
std::string explain_visible_devices(const std::optional<std::string>& value);

// What the variable must be for this rank, absent when it can stay: of several MIG instances CUDA shows a process only
// the first, so each rank of a host takes its own.
std::optional<std::string> narrowed_visible_devices(std::string_view value, const RankOnHost& rank);

}  // namespace evalmpi::device

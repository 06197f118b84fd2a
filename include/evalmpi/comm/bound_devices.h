#pragma once

// A rank's devices, bound before MPI is up: an MPI library that knows CUDA looks at the current device when it starts.

#include <optional>
#include <vector>

#include "evalmpi/comm/launch.h"
#include "evalmpi/comm/together.h"
#include "evalmpi/device/devices.h"

namespace evalmpi::comm {

struct BoundDevices {
  std::vector<device::Device> devices;  // for LayoutRequest::devices; {the CPU} where the work is done there
  // What went wrong. It is kept because it may be so on this rank alone: when MPI is up, agree(session.world(),
  // "bind the devices", failure) tells all ranks, with this one's number and host.
  std::optional<Failure> failure;
};

// Chooses the devices of this rank (device::choose_devices) and binds the calling thread to the first. Called before
// Session::start, and before anything else calls CUDA: where CUDA_VISIBLE_DEVICES lists several MIG instances, of which
// CUDA shows a process only the first, the variable is narrowed to the one of this local rank.
BoundDevices bind_devices(device::Choice choice, const Launch& launch, std::optional<int> devices_per_rank) noexcept;

}  // namespace evalmpi::comm

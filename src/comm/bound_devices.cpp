#include "evalmpi/comm/bound_devices.h"

namespace evalmpi::comm {

BoundDevices bind_devices(device::Choice choice, const Launch& launch, std::optional<int> devices_per_rank) noexcept {
  BoundDevices bound;
  try {
    const device::RankOnHost rank{launch.local_rank, launch.local_size, devices_per_rank};
    if (choice != device::Choice::kCpu) {
      device::narrow_visible_devices(rank);
    }
    bound.devices = device::choose_devices(choice, rank);
    device::bind(bound.devices.front());
  } catch (...) {
    bound.failure = current_failure();
  }
  return bound;
}

}  // namespace evalmpi::comm

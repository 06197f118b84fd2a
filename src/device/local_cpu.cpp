#include "evalmpi/device/cpu.h"
#include "evalmpi/device/devices.h"

namespace evalmpi::device {

Device local_cpu() {
  return {.kind = Kind::kCpu, .index = 0, .name = cpu_model(), .memory_bytes = memory().total_bytes};
}

}  // namespace evalmpi::device

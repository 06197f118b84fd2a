#pragma once

// What the devices did while a run worked, for results and people.

#include <string>

#include "evalmpi/base/json.h"
#include "evalmpi/device/sampler.h"

namespace evalmpi::eval {

// One member a figure; null where NVML does not say.
Json to_json(const device::DeviceFigures& figures);

// One line: "NVIDIA H200: busy 93.1 % of the time, 690 W (712 at most), ..."; of what there is.
std::string in_words(const Json& figures);

}  // namespace evalmpi::eval

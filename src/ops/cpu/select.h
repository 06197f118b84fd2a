#pragma once

// Which kernel table runs.

#include <span>
#include <string_view>

#include "cpu/kernels.h"

namespace evalmpi::ops {

// Tables that this processor can run, best first.
std::span<const CpuKernels* const> available_kernels();

// The table in use: the best, or the one that EVALMPI_CPU_KERNELS names.
// Throws Error(kUsage) when that variable names a table that does not exist or cannot run here.
const CpuKernels& cpu_kernels();

// Changes the table in use, process-wide (tests compare the tables through the public functions); "" goes back to
// what cpu_kernels() would choose at start. Throws Error(kUsage) as above.
void use_cpu_kernels(std::string_view variant);

}  // namespace evalmpi::ops

#pragma once

// Which kernels of a CUDA device are used.

namespace evalmpi::ops {

// By default only kernels that are row-pure: what a row gets depends on that row alone. `true` lets products choose a
// kernel for each number of rows, with split K: faster for few rows, and another numerics class (cuda_kernel_class),
// whose bits are promised for equal chunks only. For the whole process, before anything is computed. Without effect on
// a CPU.
void use_fast_kernels(bool fast);
bool fast_kernels();

}  // namespace evalmpi::ops

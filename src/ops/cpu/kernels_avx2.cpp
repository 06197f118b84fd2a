#include "cpu/lanes_avx2.h"
#include "cpu/table.h"

namespace evalmpi::ops {

const CpuKernels& avx2_kernels() { return kKernels; }

}  // namespace evalmpi::ops

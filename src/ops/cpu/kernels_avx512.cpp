#include "cpu/lanes_avx512.h"
#include "cpu/table.h"

namespace evalmpi::ops {

const CpuKernels& avx512_kernels() { return kKernels; }

}  // namespace evalmpi::ops

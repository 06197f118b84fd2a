#include <array>

#include "cpu/select.h"

namespace evalmpi::ops {

std::span<const CpuKernels* const> available_kernels() {
  static const std::array<const CpuKernels*, 3> tables = {&avx512_kernels(), &avx2_kernels(), &portable_kernels()};
  static const size_t first = [] {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    return avx512 ? 0 : avx2 ? 1 : 2;
  }();
  return std::span(tables).subspan(first);
}

}  // namespace evalmpi::ops

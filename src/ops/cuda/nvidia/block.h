#pragma once

// What the kernels need of CUDA beyond its built-in words. The kernels include "block.h": nvcc finds this file, and the
// test that runs kernels on a CPU finds its own (tests/ops/emulated_cuda).

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

// Register arrays need loops that are unrolled.
#define EVALMPI_UNROLL _Pragma("unroll")

namespace evalmpi::ops::cuda {

extern __shared__ float4 shared_memory[];  // a kernel's only shared memory; its size is given at the launch

// 16 bytes from global to shared memory in the background, or zeros.
__device__ inline void copy_16_bytes(void* shared, const void* global, bool is_there) {
  const auto target = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(target), "l"(global), "r"(is_there ? 16 : 0));
}

__device__ inline void close_copy_group() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

// Waits until at most kOpen of this thread's copy groups are under way.
template <int kOpen>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kOpen) : "memory");
}

// Four 8 x 8 matrices of 16-bit elements, transposed: lane l gives the address of row l % 8 of matrix l / 8 and gets,
// of each matrix m, the elements (2 (l % 4), l / 4) and (2 (l % 4) + 1, l / 4) in tile[m].
__device__ inline void load_transposed(uint32_t (&tile)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(tile[0]), "=r"(tile[1]), "=r"(tile[2]), "=r"(tile[3])
               : "r"(address));
}

// c += a b for a 16 x 16 row-major, b 16 x 8 column-major, c 16 x 8, in the fragment layouts of PTX's mma.m16n8k16:
// with g = lane / 4 and t = lane % 4
//   a[0], a[1], a[2], a[3]: columns 2t, 2t + 1 of rows g and g + 8, then columns 2t + 8, 2t + 9 of the same rows
//   b[0], b[1]:             rows 2t, 2t + 1 of column g, then rows 2t + 8, 2t + 9
//   c[0..3]:                columns 2t, 2t + 1 of row g, then of row g + 8
template <class T>
__device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, c10::BFloat16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

}  // namespace evalmpi::ops::cuda

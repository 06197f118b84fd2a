#pragma once

// The kernels as a table. Included last, after one of the lanes_*.h.

#include "cpu/attend.h"
#include "cpu/gemm.h"
#include "cpu/rows.h"

namespace evalmpi::ops {
namespace {

constexpr CpuKernels kKernels = {.variant = kVariant,
                                 .gemm = gemm,
                                 .attend = attend,
                                 .rms_norm = rms_norm,
                                 .layer_norm = layer_norm,
                                 .rotary = rotary,
                                 .silu_mul = silu_mul,
                                 .gelu_erf = gelu_erf,
                                 .gelu_tanh = gelu_tanh,
                                 .exp = exp_rows,
                                 .summarise = summarise};

}  // namespace
}  // namespace evalmpi::ops

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
                                 .square_sums = square_sums,
                                 .scale_by_squares = scale_by_squares,
                                 .rotary = rotary,
                                 .rotary_interleaved = rotary_interleaved,
                                 .activate = activate,
                                 .activate_mul = activate_mul,
                                 .scale_and_cap = scale_and_cap,
                                 .exp = exp_rows,
                                 .summarise = summarise};

}  // namespace
}  // namespace evalmpi::ops

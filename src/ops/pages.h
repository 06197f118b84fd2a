#pragma once

// Memory that lives for a whole run and grows: by pages, outside the allocator, whose heaps it would leave full of
// holes.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace evalmpi::ops {

// `floats` zeros, float32, resident from now on and given back to the system with the tensor.
// FAILS: kUnavailable, "out of memory".
at::Tensor resident_zeros(int64_t floats);

}  // namespace evalmpi::ops

#pragma once

// Finding out by trial how large a step may be on a device.

#include <cstdint>
#include <functional>

#include "evalmpi/model/transformer.h"

namespace evalmpi::engine {

struct ProbeShape {
  int64_t paths = 1;      // of the key-value store
  int64_t positions = 0;  // for which each path has room
};

// Computes a step of `rows` rows of any tokens with a target in each, on a store of that shape, and waits for it. The
// place is alone: what others of its group would add is not there, but the memory for it is taken.
// FAILS: c10::OutOfMemoryError where the device has no memory for it.
void run_largest_shape(const model::Transformer& transformer, int64_t rows, const ProbeShape& shape);

// The first of rows, next(rows), next(next(rows)), .. for which attempt() finds memory; next() gives 0 at its end.
// Returns 0 when there is none. FAILS: whatever attempt throws but c10::OutOfMemoryError.
int64_t largest_step(int64_t rows, const std::function<int64_t(int64_t)>& next,
                     const std::function<void(int64_t)>& attempt);

}  // namespace evalmpi::engine

#pragma once

// How a kernel shares its work with the cores that are lent (evalmpi/ops/threads.h).

#include <cstdint>
#include <functional>

namespace evalmpi::ops {

// Cuts [0, count) into contiguous ranges, at most one per core at hand and each at least `grain` long where there are
// several, and calls work(begin, end) for each; the caller takes ranges too, and all that nobody else has begun.
// Returns when all are done. Rethrows the first exception. Work inside work runs on its own thread alone.
void in_parallel(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& work);

// The calling thread's buffer of at least `floats` floats, aligned to 64 bytes; contents are lost at the next call.
float* thread_scratch(int64_t floats);

}  // namespace evalmpi::ops

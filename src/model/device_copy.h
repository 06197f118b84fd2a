#pragma once

// Weights on their way from mapped files to a device.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace evalmpi::model {

// Two pinned buffers: while one travels the other is filled.
inline constexpr int64_t kStagingBufferBytes = int64_t{16} << 20;
inline constexpr int64_t kStagingBytesPerThread = 2 * kStagingBufferBytes;

// A contiguous copy of `host` (CPU, any strides) in `type` on `device`, complete when this returns. Converted on the
// way into pinned buffers, which belong to the calling thread until it ends, and copied on a stream of its own: threads
// that load side by side keep the bus busy. On a CPU the plain copy.
at::Tensor copy_to_device(const at::Tensor& host, at::Device device, at::ScalarType type);

// Gives the pinned buffers of threads that have ended back to the system; nothing where there is no device.
void release_staging();

// The pieces of `host` in `type`, each of whole rows and at most `buffer_bytes` (at least one row), in row-major order.
// fill(piece, first) gets rows of `host` and the element of the result at which they begin.
void for_each_piece(const at::Tensor& host, at::ScalarType type, int64_t buffer_bytes,
                    const std::function<void(const at::Tensor& piece, int64_t first)>& fill);

}  // namespace evalmpi::model

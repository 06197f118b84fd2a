#include "device_copy.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <array>
#include <optional>

namespace evalmpi::model {
namespace {

// Of one thread, for one device.
class Staging {
 public:
  explicit Staging(at::Device device)
      : device_(device), stream_(c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device, false)) {
    const auto options = at::TensorOptions().dtype(at::kByte).pinned_memory(true);
    for (Buffer& buffer : buffers_) buffer.bytes = at::empty({kStagingBufferBytes}, options);
  }

  at::Device device() const { return device_; }

  at::Tensor copy(const at::Tensor& host, at::ScalarType type) {
    const c10::StreamGuard on_own_stream(stream_);
    at::Tensor result = at::empty(host.sizes(), at::TensorOptions(device_).dtype(type));
    at::Tensor flat = result.view({-1});
    const auto element_bytes = static_cast<int64_t>(result.element_size());
    for_each_piece(host, type, kStagingBufferBytes, [&](const at::Tensor& piece, int64_t first) {
      Buffer& buffer = next();
      if (buffer.bytes.numel() < piece.numel() * element_bytes) {
        buffer.bytes = at::empty({piece.numel() * element_bytes}, buffer.bytes.options().pinned_memory(true));
      }
      const at::Tensor staged = buffer.bytes.narrow(0, 0, piece.numel() * element_bytes).view(type);
      staged.view(piece.sizes()).copy_(piece);
      flat.narrow(0, first, piece.numel()).copy_(staged, /*non_blocking=*/true);
      buffer.sent.emplace(device_.type());
      buffer.sent->record(stream_);
    });
    for (Buffer& buffer : buffers_) wait_for(buffer);
    return result;
  }

 private:
  struct Buffer {
    at::Tensor bytes;
    std::optional<c10::Event> sent;  // what it holds has arrived
  };

  static void wait_for(Buffer& buffer) {
    if (buffer.sent) buffer.sent->synchronize();
    buffer.sent.reset();
  }

  Buffer& next() {
    std::rotate(buffers_.begin(), buffers_.begin() + 1, buffers_.end());
    wait_for(buffers_.front());
    return buffers_.front();
  }

  at::Device device_;
  c10::Stream stream_;
  std::array<Buffer, 2> buffers_;
};

}  // namespace

void for_each_piece(const at::Tensor& host, at::ScalarType type, int64_t buffer_bytes,
                    const std::function<void(const at::Tensor&, int64_t)>& fill) {
  if (host.numel() == 0) return;
  const at::Tensor rows = host.is_contiguous() ? host.view({-1}) : host;
  const int64_t row_elements = rows.numel() / rows.size(0);
  const int64_t row_bytes = row_elements * static_cast<int64_t>(c10::elementSize(type));
  const int64_t rows_at_once = std::max<int64_t>(1, buffer_bytes / row_bytes);
  for (int64_t row = 0; row < rows.size(0); row += rows_at_once) {
    fill(rows.narrow(0, row, std::min(rows_at_once, rows.size(0) - row)), row * row_elements);
  }
}

at::Tensor copy_to_device(const at::Tensor& host, at::Device device, at::ScalarType type) {
  if (device.is_cpu()) {
    at::Tensor copy = at::empty(host.sizes(), type);
    copy.copy_(host);
    return copy;
  }
  thread_local std::optional<Staging> staging;
  if (!staging || staging->device() != device) staging.emplace(device);
  return staging->copy(host, type);
}

void release_staging() {
  if (at::accelerator::deviceCount() > 0) at::getHostAllocator(*at::accelerator::getAccelerator(true))->empty_cache();
}

}  // namespace evalmpi::model

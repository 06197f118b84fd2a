#include "device_store.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include <algorithm>
#include <atomic>

#include "cuda_ops.h"
#include "evalmpi/base/error.h"

namespace evalmpi::ops::cuda {
namespace {

int64_t next_version() {
  static std::atomic<int64_t> last{0};
  return ++last;
}

at::Tensor on_device(std::span<const int32_t> slots, at::Device device) {
  at::Tensor numbers = at::empty({static_cast<int64_t>(slots.size())}, at::kInt);
  std::copy(slots.begin(), slots.end(), numbers.mutable_data_ptr<int32_t>());
  return numbers.to(device);
}

}  // namespace

DeviceStore::DeviceStore(int64_t layers, int64_t paths, int64_t kv_heads, int64_t head_dim, int64_t value_dim,
                         const at::TensorOptions& options)
    : kv_heads_(kv_heads),
      head_dim_(head_dim),
      value_dim_(value_dim),
      version_(next_version()),
      options_(options),
      tables_(paths),
      keys_(static_cast<size_t>(layers)),
      values_(static_cast<size_t>(layers)) {
  for (int64_t layer = 0; layer < layers; ++layer) {
    keys_[layer] = at::empty({0, kv_heads_, head_dim_}, options_);
    values_[layer] = at::empty({0, kv_heads_, value_dim_}, options_);
  }
}

void DeviceStore::reserve(int64_t positions) {
  const std::lock_guard lock(mutex_);
  capacity_ = std::max(capacity_, positions);
  make_room(false);
}

void DeviceStore::share(int64_t positions) {
  const std::lock_guard lock(mutex_);
  tables_.share(positions);
}

void DeviceStore::copy_path(int32_t from, int32_t to, int64_t length) {
  const std::lock_guard lock(mutex_);
  tables_.copy_path(from, to, length);
}

SpanTables DeviceStore::admit(std::span<const AttentionSpan> spans, int64_t rows, int tile_rows) {
  const std::lock_guard lock(mutex_);
  SpanTables tables = tables_.admit(spans, rows, tile_rows);
  for (const AttentionSpan& span : spans)
    if (const int64_t end = int64_t{span.start} + span.length; end > capacity_)
      capacity_ = std::max(end, capacity_ + capacity_ / 2);
  make_room(false);
  return tables;
}

// Path 0 has room for all its positions; so have the others once one of them is used, but for what they share.
void DeviceStore::make_room(bool for_all_paths) {
  int64_t needed = paths() > 0 ? capacity_ : 0;
  if (paths() > 0 && (for_all_paths || tables_.slot_count() > needed))
    needed += (paths() - 1) * (capacity_ - tables_.shared());
  needed = std::max(needed, tables_.slot_count());
  if (needed <= slots_) return;
  for (int64_t layer = 0; layer < layers(); ++layer) {
    for (at::Tensor* held : {&keys_[layer], &values_[layer]}) {
      at::Tensor larger = at::empty({needed, kv_heads_, held->size(2)}, options_);
      if (slots_ > 0) larger.narrow(0, 0, slots_).copy_(*held);
      *held = larger;
    }
  }
  slots_ = needed;
  version_ = next_version();
}

void DeviceStore::take_room() {
  const std::lock_guard lock(mutex_);
  make_room(true);
}

void DeviceStore::copy_from(const DeviceStore& other, int32_t from, int32_t to, int64_t length) {
  EVALMPI_CHECK(other.layers() == layers() && other.kv_heads_ == kv_heads_ && other.head_dim_ == head_dim_ &&
                other.value_dim_ == value_dim_ && other.options_.dtype() == options_.dtype());
  EVALMPI_CHECK(from >= 0 && from < other.paths() && to >= 0 && to < paths() && length >= 0 && length <= capacity_);
  std::vector<int32_t> source;
  std::vector<at::Tensor> keys, values;
  {
    const std::lock_guard lock(other.mutex_);
    // Its length may shrink and grow again while its owner works; the slots up to `length` stay.
    EVALMPI_CHECK(length <= other.tables_.length(from));
    const auto slots = other.tables_.slots(from).first(static_cast<size_t>(length));
    source.assign(slots.begin(), slots.end());
    keys = other.keys_;
    values = other.values_;
  }
  const std::lock_guard lock(mutex_);
  const auto skipped = static_cast<size_t>(tables_.shared());
  const std::span<const int32_t> target = tables_.renew(to, length);
  make_room(false);
  if (source.size() == skipped) return;
  const at::Tensor source_L = on_device(std::span(source).subspan(skipped), other.options_.device());
  const at::Tensor target_L = on_device(target.subspan(skipped), options_.device()).to(at::kLong);
  for (int64_t layer = 0; layer < layers(); ++layer) {
    keys_[layer].index_copy_(0, target_L, at::index_select(keys[layer], 0, source_L).to(options_.device()));
    values_[layer].index_copy_(0, target_L, at::index_select(values[layer], 0, source_L).to(options_.device()));
  }
  settle();  // after this its owner may write over them
}

void DeviceStore::settle() const { synchronise(options_.device()); }

int64_t DeviceStore::bytes() const {
  int64_t bytes = 0;
  for (const std::vector<at::Tensor>* held : {&keys_, &values_})
    for (const at::Tensor& x : *held) bytes += static_cast<int64_t>(x.nbytes());
  return bytes;
}

}  // namespace evalmpi::ops::cuda

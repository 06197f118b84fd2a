#include "cpu/kernels.h"
#include "evalmpi/base/error.h"
#include "evalmpi/ops/attention.h"
#include "key_value_storage.h"
#include "pages.h"

namespace evalmpi::ops {
namespace {

int64_t rounded_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Copies positions [0, length) of packed keys.
void copy_keys(const float* from, float* to, int64_t length, int64_t head_dim) {
  const int64_t whole = length / kPanel * kPanel;
  std::copy_n(from, whole * head_dim, to);
  for (int64_t d = 0; d < head_dim; ++d)
    std::copy_n(from + whole * head_dim + d * kPanel, length - whole, to + whole * head_dim + d * kPanel);
}

// Room for `capacity` positions on each of `paths` paths; contents are kept.
void grow(Positions& p, int64_t capacity, int64_t paths, const KeyValueStore::Storage& s) {
  if (capacity <= p.capacity) return;
  const int64_t heads = paths * s.kv_heads;
  at::Tensor keys = resident_zeros(heads * capacity * s.head_dim);
  at::Tensor values = resident_zeros(heads * capacity * s.value_step);
  for (int64_t h = 0; h < heads; ++h) {
    std::copy_n(p.keys.const_data_ptr<float>() + h * p.capacity * s.head_dim, p.capacity * s.head_dim,
                keys.mutable_data_ptr<float>() + h * capacity * s.head_dim);
    std::copy_n(p.values.const_data_ptr<float>() + h * p.capacity * s.value_step, p.capacity * s.value_step,
                values.mutable_data_ptr<float>() + h * capacity * s.value_step);
  }
  p = {.capacity = capacity, .keys = keys, .values = values};
}

// Room for all paths but the first in one layer; nothing before one of them is used.
void make_room_for_others(KeyValueStore::Storage& s, int64_t layer) {
  grow(s.layers[layer].others, s.capacity - s.shared, s.paths - 1, s);
}

}  // namespace

void copy_head(const StoredPath& from, const StoredPath& to, int64_t layer, int64_t head, int64_t length) {
  const int64_t origin = to.store.origin(to.path), skipped = origin - from.store.origin(from.path);
  EVALMPI_CHECK(skipped >= 0 && length >= origin);
  const int64_t head_dim = to.store.head_dim, value_step = to.store.value_step;
  copy_keys(from.store.keys(layer, from.path, head) + skipped * head_dim, to.store.keys(layer, to.path, head),
            length - origin, head_dim);
  std::copy_n(from.store.values(layer, from.path, head) + skipped * value_step, (length - origin) * value_step,
              to.store.values(layer, to.path, head));
}

void admit_spans(std::span<const AttentionSpan> spans, int64_t rows, int64_t layer, KeyValueStore& store) {
  KeyValueStore::Storage& storage = store.storage();
  int64_t needed = 0;
  for (const AttentionSpan& span : spans) {
    EVALMPI_CHECK(span.path >= 0 && span.path < storage.paths && span.start >= 0 && span.length >= 0);
    EVALMPI_CHECK(span.row >= 0 && int64_t{span.row} + span.length <= rows);
    std::vector<int64_t>& lengths = storage.layers[layer].length_of_path;
    EVALMPI_CHECK(span.fork >= -1 && span.fork < storage.paths);
    int64_t& length = lengths[span.path];
    EVALMPI_CHECK(span.start <= (span.fork >= 0 ? lengths[span.fork] : length));
    // What is shared stays as it is.
    EVALMPI_CHECK(span.length == 0 || span.start >= storage.shared);
    if (span.length > 0) length = int64_t{span.start} + span.length;
    needed = std::max(needed, length);
  }
  if (needed > storage.capacity) store.reserve(std::max(needed, storage.capacity + storage.capacity / 2));
  const auto is_other = [](const AttentionSpan& span) { return span.path > 0; };
  if (std::any_of(spans.begin(), spans.end(), is_other)) make_room_for_others(storage, layer);
}

KeyValueStore::KeyValueStore(int64_t layers, int64_t paths, int64_t kv_heads, int64_t head_dim, int64_t value_dim,
                             at::Device device, at::ScalarType type)
    : storage_(std::make_unique<Storage>(Storage{.device = nullptr,
                                                 .paths = paths,
                                                 .kv_heads = kv_heads,
                                                 .head_dim = head_dim,
                                                 .value_dim = value_dim,
                                                 .value_step = rounded_up(value_dim, kPanel),
                                                 .layers = {}})) {
  EVALMPI_CHECK(layers >= 0 && paths >= 0 && kv_heads >= 0 && head_dim >= 0 && value_dim >= 0);
  EVALMPI_CHECK(device.is_cuda() || (device.is_cpu() && type == at::kFloat));
  if (device.is_cuda()) {
    storage_->device = std::make_unique<cuda::DeviceStore>(layers, paths, kv_heads, head_dim, value_dim,
                                                           at::TensorOptions(device).dtype(type));
    return;
  }
  for (int64_t i = 0; i < layers; ++i)
    storage_->layers.push_back({.trunk = {}, .others = {}, .length_of_path = std::vector<int64_t>(paths, 0)});
}

KeyValueStore::KeyValueStore(KeyValueStore&&) noexcept = default;
KeyValueStore& KeyValueStore::operator=(KeyValueStore&&) noexcept = default;
KeyValueStore::~KeyValueStore() = default;

void KeyValueStore::reserve(int64_t positions) {
  Storage& s = *storage_;
  if (s.device) return s.device->reserve(positions);
  s.capacity = std::max(s.capacity, rounded_up(positions, kPanel));
  for (LayerStorage& layer : s.layers) grow(layer.trunk, s.capacity, std::min<int64_t>(s.paths, 1), s);
}

void KeyValueStore::share(int64_t positions) {
  Storage& s = *storage_;
  if (s.device) return s.device->share(positions);
  const int64_t shared = positions / kBlock * kBlock;
  for (LayerStorage& layer : s.layers) {
    EVALMPI_CHECK(positions >= 0 && s.paths > 0 && positions <= layer.length_of_path[0]);
    std::fill(layer.length_of_path.begin() + 1, layer.length_of_path.end(), 0);
    if (shared < s.shared) layer.others = {};  // too small from now on
  }
  s.shared = shared;
}

int64_t KeyValueStore::shared_positions() const {
  return storage_->device ? storage_->device->shared_positions() : storage_->shared;
}

void KeyValueStore::copy_path(int32_t from, int32_t to, int64_t length) {
  Storage& s = *storage_;
  if (s.device) return s.device->copy_path(from, to, length);
  EVALMPI_CHECK(from >= 0 && from < s.paths && to >= 0 && to < s.paths && length >= s.shared);
  if (from == to) return;
  EVALMPI_CHECK(to > 0 || s.shared == 0);
  for (size_t layer = 0; layer < s.layers.size(); ++layer) {
    std::vector<int64_t>& lengths = s.layers[layer].length_of_path;
    EVALMPI_CHECK(length <= lengths[from]);
    lengths[to] = length;
    make_room_for_others(s, static_cast<int64_t>(layer));
    for (int64_t head = 0; head < s.kv_heads; ++head)
      copy_head({s, from}, {s, to}, static_cast<int64_t>(layer), head, length);
  }
}

// Lengths of `other` are not looked at: its owner may be writing them.
void KeyValueStore::copy_from(const KeyValueStore& other, int32_t from, int32_t to, int64_t length) {
  const Storage &source = other.storage(), &s = *storage_;
  EVALMPI_CHECK((source.device == nullptr) == (s.device == nullptr));
  if (s.device) return s.device->copy_from(*source.device, from, to, length);
  EVALMPI_CHECK(source.layers.size() == s.layers.size() && source.kv_heads == s.kv_heads &&
                source.head_dim == s.head_dim && source.value_dim == s.value_dim);
  EVALMPI_CHECK(from >= 0 && from < source.paths && to >= 0 && to < s.paths && length >= 0);
  EVALMPI_CHECK(length <= source.capacity && length <= s.capacity && (to > 0 || s.shared == 0));
  for (size_t layer = 0; layer < s.layers.size(); ++layer) {
    storage_->layers[layer].length_of_path[to] = length;
    if (to > 0) make_room_for_others(*storage_, static_cast<int64_t>(layer));
    for (int64_t head = 0; head < s.kv_heads; ++head)
      copy_head({source, from}, {s, to}, static_cast<int64_t>(layer), head, length);
  }
}

void KeyValueStore::settle() const {
  if (storage_->device) storage_->device->settle();
}

int64_t KeyValueStore::bytes() const {
  if (storage_->device) return storage_->device->bytes();
  int64_t bytes = 0;
  for (const LayerStorage& layer : storage_->layers)
    for (const Positions* p : {&layer.trunk, &layer.others})
      bytes += static_cast<int64_t>(p->keys.nbytes() + p->values.nbytes());
  return bytes;
}

}  // namespace evalmpi::ops

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "cuda_ops.h"
#include "slot_tables.h"
#include "tensors.h"

namespace evalmpi::ops::cuda {
namespace {

// Sections of the plan's buffer begin at multiples of 16 bytes.
int64_t rounded_up(int64_t ints) { return (ints + 3) / 4 * 4; }

template <class T>
constexpr int64_t kInts = static_cast<int64_t>(sizeof(T) / sizeof(int32_t));

}  // namespace

// One buffer of int32: the heads' order, which stays; then the tiles, the stored rows and the sources of the spans.
// Tiles and stored rows that later spans do not need are empty, so that a launch always has as many blocks.
class DevicePlan {
 public:
  DevicePlan(DeviceStore& store, std::span<const AttentionSpan> spans, int64_t rows,
             std::span<const int32_t> kv_head_of_query, int64_t room_positions)
      : order_(make_head_order(kv_head_of_query, store.kv_heads())), rows_(rows) {
    tile_rows_ = attention_tile_rows(data_type(store.options().dtype().toScalarType()), store.head_dim(),
                                     store.value_dim(), order_.most_of_a_kv_head);
    if (room_positions > 0) store.take_room();
    const SpanTables tables = store.admit(spans, rows, tile_rows_);
    tiles_ = static_cast<int64_t>(tables.tiles.size());
    stored_ = room_positions > 0 ? rows : static_cast<int64_t>(tables.stored.size());
    sources_ =
        std::max(static_cast<int64_t>(tables.sources.size()), static_cast<int64_t>(spans.size()) * room_positions);
    const auto heads = static_cast<int64_t>(order_.query_head.size());
    begin_at_ = rounded_up(heads);
    kv_head_at_ = begin_at_ + rounded_up(store.kv_heads() + 1);
    tiles_at_ = kv_head_at_ + rounded_up(heads);
    stored_at_ = tiles_at_ + rounded_up(tiles_ * kInts<RowTile>);
    sources_at_ = stored_at_ + rounded_up(stored_ * kInts<StoredRow>);
    numbers_ = at::empty({sources_at_ + sources_}, store.options().dtype(at::kInt));
    int64_t span_rows = 0;
    for (const AttentionSpan& span : spans) span_rows += span.length;
    is_every_row_computed_ = room_positions == 0 && span_rows == rows;
    fill(tables);
    version_ = store.version();
  }

  bool fits(const DeviceStore& store) const { return store.version() == version_; }

  void refill(DeviceStore& store, std::span<const AttentionSpan> spans) {
    EVALMPI_CHECK(fits(store));
    fill(store.admit(spans, rows_, tile_rows_));
    EVALMPI_CHECK(fits(store));
  }

  AttendCall<void> call() const {
    const int32_t* numbers = numbers_.const_data_ptr<int32_t>();
    AttendCall<void> call = {};
    call.sources = numbers + sources_at_;
    call.tiles = reinterpret_cast<const RowTile*>(numbers + tiles_at_);
    call.query_head_order = numbers;
    call.query_head_begin = numbers + begin_at_;
    call.kv_head_of_order = numbers + kv_head_at_;
    return call;
  }
  const StoredRow* stored_rows() const {
    return reinterpret_cast<const StoredRow*>(numbers_.const_data_ptr<int32_t>() + stored_at_);
  }
  int tile_rows() const { return tile_rows_; }
  int64_t most_query_heads() const { return order_.most_of_a_kv_head; }
  int64_t tiles() const { return tiles_; }
  int64_t stored() const { return stored_; }
  bool is_every_row_computed() const { return is_every_row_computed_; }

 private:
  void fill(const SpanTables& tables) {
    EVALMPI_CHECK(static_cast<int64_t>(tables.tiles.size()) <= tiles_);
    EVALMPI_CHECK(static_cast<int64_t>(tables.stored.size()) <= stored_);
    EVALMPI_CHECK(static_cast<int64_t>(tables.sources.size()) <= sources_);
    const int64_t used = sources_at_ + static_cast<int64_t>(tables.sources.size());
    at::Tensor host = at::empty({used}, at::TensorOptions(at::kInt).pinned_memory(true));
    int32_t* numbers = host.mutable_data_ptr<int32_t>();
    std::fill(numbers, numbers + sources_at_, 0);
    std::copy(order_.query_head.begin(), order_.query_head.end(), numbers);
    std::copy(order_.begin.begin(), order_.begin.end(), numbers + begin_at_);
    std::copy(order_.kv_head.begin(), order_.kv_head.end(), numbers + kv_head_at_);
    std::memcpy(numbers + tiles_at_, tables.tiles.data(), tables.tiles.size() * sizeof(RowTile));
    auto* stored = reinterpret_cast<StoredRow*>(numbers + stored_at_);
    std::fill(stored, stored + stored_, StoredRow{-1, 0});
    std::copy(tables.stored.begin(), tables.stored.end(), stored);
    std::copy(tables.sources.begin(), tables.sources.end(), numbers + sources_at_);
    numbers_.narrow(0, 0, used).copy_(host, /*non_blocking=*/true);
  }

  HeadOrder order_;
  int64_t rows_;
  bool is_every_row_computed_ = false;
  int64_t version_ = 0;  // of the store's memory
  int tile_rows_ = 1;
  int64_t tiles_ = 0, stored_ = 0, sources_ = 0;  // there is room for
  int64_t begin_at_ = 0, kv_head_at_ = 0, tiles_at_ = 0, stored_at_ = 0, sources_at_ = 0;
  at::Tensor numbers_;
};

void DevicePlanDeleter::operator()(DevicePlan* plan) const { delete plan; }

DevicePlanHandle make_device_plan(DeviceStore& store, std::span<const AttentionSpan> spans, int64_t rows,
                                  std::span<const int32_t> kv_head_of_query_N, int64_t room_positions) {
  const OnDevice guard(store.options().device());
  return DevicePlanHandle(new DevicePlan(store, spans, rows, kv_head_of_query_N, room_positions));
}

bool fits(const DevicePlan& plan, const DeviceStore& store) { return plan.fits(store); }

void refill(DevicePlan& plan, DeviceStore& store, std::span<const AttentionSpan> spans) {
  const OnDevice guard(store.options().device());
  plan.refill(store, spans);
}

at::Tensor attention(const at::Tensor& q_TNH, const at::Tensor& k_TGH, const at::Tensor& v_TGU, const DevicePlan& plan,
                     DeviceStore& store, int64_t layer, const AttentionRule& rule) {
  const at::Tensor &keys = store.keys(layer), &values = store.values(layer);
  const OnDevice guard(keys.device());
  for (const at::Tensor& x : {q_TNH, k_TGH, v_TGU})
    EVALMPI_CHECK(x.device() == keys.device() && x.scalar_type() == keys.scalar_type());
  const at::Tensor q = ready(q_TNH), k = ready(k_TGH), v = ready(v_TGU);
  const at::Tensor bias = ready(rule.bias_NP), sinks = ready(rule.sink_N);
  const int64_t width = q.size(1) * store.value_dim();
  at::Tensor out = plan.is_every_row_computed() ? at::empty({q.size(0), width}, q.options())
                                                : at::zeros({q.size(0), width}, q.options());
  const DataType type = data_type(keys.scalar_type());
  AttendCall<void> call = plan.call();
  call.q = q.const_data_ptr();
  call.k = k.const_data_ptr();
  call.v = v.const_data_ptr();
  call.stored_k = keys.const_data_ptr();
  call.stored_v = values.const_data_ptr();
  call.bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  call.bias_step = bias.defined() ? bias.size(1) : 0;
  call.sinks = sinks.defined() ? sinks.const_data_ptr<float>() : nullptr;
  call.query_heads = static_cast<int32_t>(q.size(1));
  call.kv_heads = static_cast<int32_t>(store.kv_heads());
  call.head_dim = static_cast<int32_t>(store.head_dim());
  call.value_dim = static_cast<int32_t>(store.value_dim());
  call.window = static_cast<int32_t>(rule.window);
  call.scale = static_cast<float>(rule.scale);
  call.soft_cap = static_cast<float>(rule.soft_cap);
  call.out = out.mutable_data_ptr();
  launch_attention(call, plan.tiles(), plan.tile_rows(), plan.most_query_heads(), type, stream_of(keys));
  // After the attention in the same stream: rows of this call were read as new ones.
  launch_store({.k = k.const_data_ptr(),
                .v = v.const_data_ptr(),
                .entries = plan.stored_rows(),
                .count = plan.stored(),
                .key_width = store.kv_heads() * store.head_dim(),
                .value_width = store.kv_heads() * store.value_dim(),
                .stored_k = keys.mutable_data_ptr(),
                .stored_v = values.mutable_data_ptr(),
                .type = type},
               stream_of(keys));
  return out;
}

}  // namespace evalmpi::ops::cuda

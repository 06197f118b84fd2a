#include "evalmpi/ops/attention.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <vector>

#include "cpu/parallel.h"
#include "cpu/select.h"
#include "cuda/cuda_ops.h"
#include "evalmpi/base/error.h"
#include "key_value_storage.h"

namespace evalmpi::ops {
namespace {

struct Call {
  const float *q, *k, *v;
  float* out;
  int64_t query_heads, kv_heads, head_dim, value_dim;
  std::span<const AttentionSpan> spans;
  const KeyValueStore::Storage& store;
  int64_t layer;
  const AttentionRule& rule;
};

void write_span(const Call& call, const AttentionSpan& span, int64_t head) {
  const int64_t dim = call.head_dim, value_dim = call.value_dim, origin = call.store.origin(span.path);
  float* keys = call.store.keys(call.layer, span.path, head);
  float* values = call.store.values(call.layer, span.path, head);
  for (int64_t i = 0; i < span.length; ++i) {
    const int64_t source = (span.row + i) * call.kv_heads + head, position = span.start - origin + i;
    float* key = keys + position / kPanel * dim * kPanel + position % kPanel;
    for (int64_t d = 0; d < dim; ++d) key[d * kPanel] = call.k[source * dim + d];
    std::copy_n(call.v + source * value_dim, value_dim, values + position * call.store.value_step);
  }
}

// The end of the spans from `begin` on that may attend together: paths that share a trunk, each written once.
size_t run_end(const Call& call, size_t begin) {
  const auto shares = [&](const AttentionSpan& span) { return span.path != 0 && call.store.shared > 0; };
  size_t end = begin + 1;
  if (!shares(call.spans[begin])) return end;
  for (; end < call.spans.size() && shares(call.spans[end]); ++end) {
    const auto run = call.spans.subspan(begin, end - begin);
    const auto is_same = [&](const AttentionSpan& span) { return span.path == call.spans[end].path; };
    if (std::any_of(run.begin(), run.end(), is_same)) return end;
  }
  return end;
}

void attend_run(const Call& call, std::span<const AttentionSpan> run, int64_t head,
                std::span<const int32_t> query_heads) {
  const int64_t step = call.query_heads * call.head_dim, out_step = call.query_heads * call.value_dim;
  const AttentionRule& rule = call.rule;
  std::vector<AttentionPart> parts;
  int64_t longest = 0;
  for (const AttentionSpan& span : run) {
    if (span.length == 0) continue;
    longest = std::max(longest, int64_t{span.start} + span.length);
    parts.push_back({.q = call.q + span.row * step,
                     .out = call.out + span.row * out_step,
                     .keys = call.store.keys(call.layer, span.path, head),
                     .values = call.store.values(call.layer, span.path, head),
                     .start = span.start,
                     .length = span.length});
  }
  const int64_t shared = call.store.origin(run.front().path);
  cpu_kernels().attend({.parts = parts.data(),
                        .part_count = static_cast<int64_t>(parts.size()),
                        .shared = shared,
                        .shared_keys = shared > 0 ? call.store.keys(call.layer, 0, head) : nullptr,
                        .shared_values = shared > 0 ? call.store.values(call.layer, 0, head) : nullptr,
                        .q_step = step,
                        .heads = query_heads.data(),
                        .head_count = static_cast<int32_t>(query_heads.size()),
                        .head_dim = call.head_dim,
                        .value_dim = call.value_dim,
                        .value_step = call.store.value_step,
                        .window = rule.window,
                        .scale = static_cast<float>(rule.scale),
                        .soft_cap = static_cast<float>(rule.soft_cap),
                        .bias = rule.bias_NP.defined() ? rule.bias_NP.const_data_ptr<float>() : nullptr,
                        .bias_step = rule.bias_NP.defined() ? rule.bias_NP.size(1) : 0,
                        .sinks = rule.sink_N.defined() ? rule.sink_N.const_data_ptr<float>() : nullptr,
                        .out_step = out_step,
                        .scratch = thread_scratch(attention_scratch_floats(longest, call.head_dim, call.value_dim))});
}

void attend_spans(const Call& call, int64_t head, std::span<const int32_t> query_heads) {
  for (size_t begin = 0; begin < call.spans.size();) {
    const size_t end = run_end(call, begin);
    const auto run = call.spans.subspan(begin, end - begin);
    begin = end;
    for (const AttentionSpan& span : run) {
      if (span.length == 0) continue;
      if (span.fork >= 0 && span.fork != span.path)
        copy_head({call.store, span.fork}, {call.store, span.path}, call.layer, head, span.start);
      write_span(call, span, head);
    }
    if (!query_heads.empty()) attend_run(call, run, head, query_heads);
  }
}

// Positions that the longest path will have.
int64_t positions_of(std::span<const AttentionSpan> spans) {
  int64_t positions = 0;
  for (const AttentionSpan& span : spans) positions = std::max(positions, int64_t{span.start} + span.length);
  return positions;
}

bool is_float_beside(const at::Tensor& x, const at::Tensor& q) {
  return x.scalar_type() == at::kFloat && x.device() == q.device() && x.is_contiguous();
}

void check_rule(const AttentionRule& rule, const at::Tensor& q_TNH, std::span<const AttentionSpan> spans) {
  EVALMPI_CHECK(rule.window >= 0 && rule.soft_cap >= 0);
  if (rule.bias_NP.defined()) {
    EVALMPI_CHECK(rule.bias_NP.dim() == 2 && is_float_beside(rule.bias_NP, q_TNH));
    EVALMPI_CHECK(rule.bias_NP.size(0) == q_TNH.size(1) && rule.bias_NP.size(1) >= positions_of(spans));
  }
  EVALMPI_CHECK(!rule.sink_N.defined() ||
                (is_float_beside(rule.sink_N, q_TNH) && rule.sink_N.numel() == q_TNH.size(1)));
}

// The query heads that read each KV head.
std::vector<std::vector<int32_t>> query_heads_of_kv_heads(std::span<const int32_t> kv_head_of_query, int64_t kv_heads) {
  std::vector<std::vector<int32_t>> query_heads_of(kv_heads);
  for (int32_t n = 0; n < static_cast<int32_t>(kv_head_of_query.size()); ++n) {
    EVALMPI_CHECK(kv_head_of_query[n] >= 0 && kv_head_of_query[n] < kv_heads);
    query_heads_of[kv_head_of_query[n]].push_back(n);
  }
  return query_heads_of;
}

}  // namespace

// On a CPU a plan is its spans: layers are admitted one by one.
struct AttentionPlan::Storage {
  std::vector<AttentionSpan> spans;
  std::vector<int32_t> lengths;  // of the first spans
  int64_t rows, query_heads;
  std::vector<std::vector<int32_t>> query_heads_of;  // each KV head
  cuda::DevicePlanHandle device;                     // null on a CPU
};

AttentionPlan::AttentionPlan(KeyValueStore& store, std::span<const AttentionSpan> spans, int64_t rows,
                             std::span<const int32_t> kv_head_of_query_N, int64_t room_positions)
    : storage_(std::make_unique<Storage>(
          Storage{.spans = {spans.begin(), spans.end()},
                  .lengths = {},
                  .rows = rows,
                  .query_heads = static_cast<int64_t>(kv_head_of_query_N.size()),
                  .query_heads_of = query_heads_of_kv_heads(kv_head_of_query_N, store.storage().kv_heads),
                  .device = nullptr})) {
  for (const AttentionSpan& span : spans) storage_->lengths.push_back(span.length);
  cuda::DeviceStore* device_store = store.storage().device.get();
  if (device_store) {
    storage_->device = cuda::make_device_plan(*device_store, spans, rows, kv_head_of_query_N, room_positions);
  }
}

AttentionPlan::AttentionPlan(AttentionPlan&&) noexcept = default;
AttentionPlan& AttentionPlan::operator=(AttentionPlan&&) noexcept = default;
AttentionPlan::~AttentionPlan() = default;

void AttentionPlan::refill(KeyValueStore& store, std::span<const AttentionSpan> spans) {
  EVALMPI_CHECK(spans.size() <= storage_->lengths.size());
  EVALMPI_CHECK((storage_->device == nullptr) == (store.storage().device == nullptr));
  for (size_t i = 0; i < spans.size(); ++i) EVALMPI_CHECK(spans[i].length <= storage_->lengths[i]);
  storage_->spans.assign(spans.begin(), spans.end());
  if (storage_->device) cuda::refill(*storage_->device, *store.storage().device, spans);
}

bool AttentionPlan::fits(const KeyValueStore& store) const {
  const cuda::DeviceStore* device_store = store.storage().device.get();
  if (!storage_->device) return device_store == nullptr;
  return device_store != nullptr && cuda::fits(*storage_->device, *device_store);
}

at::Tensor attention(const at::Tensor& q_TNH, const at::Tensor& k_TGH, const at::Tensor& v_TGU,
                     const AttentionPlan& plan, KeyValueStore& store, int64_t layer, const AttentionRule& rule) {
  KeyValueStore::Storage& storage = store.storage();
  const AttentionPlan::Storage& planned = plan.storage();
  const int64_t rows = q_TNH.size(0), query_heads = q_TNH.size(1), kv_heads = k_TGH.size(1);
  EVALMPI_CHECK(rows == planned.rows && query_heads == planned.query_heads && kv_heads == storage.kv_heads);
  EVALMPI_CHECK(q_TNH.size(2) == storage.head_dim && k_TGH.size(2) == storage.head_dim);
  EVALMPI_CHECK(v_TGU.size(1) == kv_heads && v_TGU.size(2) == storage.value_dim);
  check_rule(rule, q_TNH, planned.spans);
  for (const at::Tensor& x : {q_TNH, k_TGH, v_TGU})
    EVALMPI_CHECK(x.dim() == 3 && x.size(0) == rows && x.is_contiguous() && x.device() == q_TNH.device());
  if (planned.device) {
    return cuda::attention(q_TNH, k_TGH, v_TGU, *planned.device, *storage.device, layer, rule);
  }
  for (const at::Tensor& x : {q_TNH, k_TGH, v_TGU}) EVALMPI_CHECK(is_float_beside(x, q_TNH) && x.device().is_cpu());
  EVALMPI_CHECK(storage.device == nullptr && layer >= 0 && layer < static_cast<int64_t>(storage.layers.size()));
  admit_spans(planned.spans, rows, layer, store);
  at::Tensor out = at::zeros({rows, query_heads * storage.value_dim}, q_TNH.options().requires_grad(false));
  const Call call = {.q = q_TNH.const_data_ptr<float>(),
                     .k = k_TGH.const_data_ptr<float>(),
                     .v = v_TGU.const_data_ptr<float>(),
                     .out = out.mutable_data_ptr<float>(),
                     .query_heads = query_heads,
                     .kv_heads = kv_heads,
                     .head_dim = storage.head_dim,
                     .value_dim = storage.value_dim,
                     .spans = planned.spans,
                     .store = storage,
                     .layer = layer,
                     .rule = rule};
  in_parallel(kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) attend_spans(call, head, planned.query_heads_of[head]);
  });
  return out;
}

at::Tensor attention(const at::Tensor& q_TNH, const at::Tensor& k_TGH, const at::Tensor& v_TGU,
                     std::span<const AttentionSpan> spans, KeyValueStore& store, int64_t layer,
                     std::span<const int32_t> kv_head_of_query_N, const AttentionRule& rule) {
  // A device's store takes in the spans once for all layers.
  EVALMPI_CHECK(!store.storage().device || store.storage().device->layers() == 1);
  const AttentionPlan plan(store, spans, q_TNH.size(0), kv_head_of_query_N);
  return attention(q_TNH, k_TGH, v_TGU, plan, store, layer, rule);
}

}  // namespace evalmpi::ops

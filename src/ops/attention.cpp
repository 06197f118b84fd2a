#include "evalmpi/ops/attention.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <vector>

#include "cpu/parallel.h"
#include "cpu/select.h"
#include "evalmpi/base/error.h"
#include "pages.h"

namespace evalmpi::ops {

// Positions of some paths, for all heads of one layer: head g of the i-th of these paths begins at (i * kv_heads + g)
// times the size of one.
struct Positions {
  int64_t capacity = 0;                            // on every path, a multiple of 16
  at::Tensor keys = at::empty({0}, at::kFloat);    // per path and head: [panel of positions][head_dim][16]
  at::Tensor values = at::empty({0}, at::kFloat);  // per path and head: [position][value_step]
};

struct LayerStorage {
  Positions trunk;                      // path 0
  Positions others;                     // the other paths, from position `shared` on
  std::vector<int64_t> length_of_path;  // positions written
};

struct KeyValueStore::Storage {
  int64_t paths, kv_heads, head_dim, value_dim, value_step;
  int64_t shared = 0;    // the other paths' first positions are those of path 0; a multiple of kBlock
  int64_t capacity = 0;  // positions on every path
  std::vector<LayerStorage> layers;

  int64_t origin(int64_t path) const { return path == 0 ? 0 : shared; }
  const Positions& positions(int64_t layer, int64_t path) const {
    return path == 0 ? layers[layer].trunk : layers[layer].others;
  }
  // From position origin(path) on.
  float* keys(int64_t layer, int64_t path, int64_t head) const {
    const Positions& p = positions(layer, path);
    return p.keys.mutable_data_ptr<float>() +
           (std::max<int64_t>(path - 1, 0) * kv_heads + head) * p.capacity * head_dim;
  }
  float* values(int64_t layer, int64_t path, int64_t head) const {
    const Positions& p = positions(layer, path);
    return p.values.mutable_data_ptr<float>() +
           (std::max<int64_t>(path - 1, 0) * kv_heads + head) * p.capacity * value_step;
  }
};

namespace {

int64_t rounded_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Copies positions [0, length) of packed keys.
void copy_keys(const float* from, float* to, int64_t length, int64_t head_dim) {
  const int64_t whole = length / kPanel * kPanel;
  std::copy_n(from, whole * head_dim, to);
  for (int64_t d = 0; d < head_dim; ++d)
    std::copy_n(from + whole * head_dim + d * kPanel, length - whole, to + whole * head_dim + d * kPanel);
}

// A path of a store.
struct Path {
  const KeyValueStore::Storage& store;
  int32_t path;
};

// Copies positions [0, length) of one head of one layer from a path to another, but for those that both share.
void copy_head(const Path& from, const Path& to, int64_t layer, int64_t head, int64_t length) {
  const int64_t origin = to.store.origin(to.path), skipped = origin - from.store.origin(from.path);
  EVALMPI_CHECK(skipped >= 0 && length >= origin);
  const int64_t head_dim = to.store.head_dim, value_step = to.store.value_step;
  copy_keys(from.store.keys(layer, from.path, head) + skipped * head_dim, to.store.keys(layer, to.path, head),
            length - origin, head_dim);
  std::copy_n(from.store.values(layer, from.path, head) + skipped * value_step, (length - origin) * value_step,
              to.store.values(layer, to.path, head));
}

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

// Checks the spans, makes room for them and notes what every path will hold.
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

}  // namespace

KeyValueStore::KeyValueStore(int64_t layers, int64_t paths, int64_t kv_heads, int64_t head_dim, int64_t value_dim)
    : storage_(std::make_unique<Storage>(Storage{.paths = paths,
                                                 .kv_heads = kv_heads,
                                                 .head_dim = head_dim,
                                                 .value_dim = value_dim,
                                                 .value_step = rounded_up(value_dim, kPanel),
                                                 .layers = {}})) {
  EVALMPI_CHECK(layers >= 0 && paths >= 0 && kv_heads >= 0 && head_dim >= 0 && value_dim >= 0);
  for (int64_t i = 0; i < layers; ++i)
    storage_->layers.push_back({.trunk = {}, .others = {}, .length_of_path = std::vector<int64_t>(paths, 0)});
}

KeyValueStore::KeyValueStore(KeyValueStore&&) noexcept = default;
KeyValueStore& KeyValueStore::operator=(KeyValueStore&&) noexcept = default;
KeyValueStore::~KeyValueStore() = default;

void KeyValueStore::reserve(int64_t positions) {
  Storage& s = *storage_;
  s.capacity = std::max(s.capacity, rounded_up(positions, kPanel));
  for (LayerStorage& layer : s.layers) grow(layer.trunk, s.capacity, std::min<int64_t>(s.paths, 1), s);
}

void KeyValueStore::share(int64_t positions) {
  Storage& s = *storage_;
  const int64_t shared = positions / kBlock * kBlock;
  for (LayerStorage& layer : s.layers) {
    EVALMPI_CHECK(positions >= 0 && s.paths > 0 && positions <= layer.length_of_path[0]);
    std::fill(layer.length_of_path.begin() + 1, layer.length_of_path.end(), 0);
    if (shared < s.shared) layer.others = {};  // too small from now on
  }
  s.shared = shared;
}

int64_t KeyValueStore::shared_positions() const { return storage_->shared; }

void KeyValueStore::copy_path(int32_t from, int32_t to, int64_t length) {
  Storage& s = *storage_;
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

int64_t KeyValueStore::bytes() const {
  int64_t bytes = 0;
  for (const LayerStorage& layer : storage_->layers)
    for (const Positions* p : {&layer.trunk, &layer.others})
      bytes += static_cast<int64_t>(p->keys.nbytes() + p->values.nbytes());
  return bytes;
}

namespace {

bool is_plain(const at::Tensor& x) { return x.scalar_type() == at::kFloat && x.device().is_cpu() && x.is_contiguous(); }

// Positions that the longest path will have.
int64_t positions_of(std::span<const AttentionSpan> spans) {
  int64_t positions = 0;
  for (const AttentionSpan& span : spans) positions = std::max(positions, int64_t{span.start} + span.length);
  return positions;
}

void check_rule(const AttentionRule& rule, int64_t query_heads, std::span<const AttentionSpan> spans) {
  EVALMPI_CHECK(rule.window >= 0 && rule.soft_cap >= 0);
  if (rule.bias_NP.defined()) {
    EVALMPI_CHECK(rule.bias_NP.dim() == 2 && is_plain(rule.bias_NP) && rule.bias_NP.size(0) == query_heads);
    EVALMPI_CHECK(rule.bias_NP.size(1) >= positions_of(spans));
  }
  EVALMPI_CHECK(!rule.sink_N.defined() || (is_plain(rule.sink_N) && rule.sink_N.numel() == query_heads));
}

}  // namespace

at::Tensor attention(const at::Tensor& q_TNH, const at::Tensor& k_TGH, const at::Tensor& v_TGU,
                     std::span<const AttentionSpan> spans, KeyValueStore& store, int64_t layer,
                     std::span<const int32_t> kv_head_of_query_N, const AttentionRule& rule) {
  KeyValueStore::Storage& storage = store.storage();
  for (const at::Tensor& x : {q_TNH, k_TGH, v_TGU})
    EVALMPI_CHECK(x.dim() == 3 && is_plain(x) && x.size(0) == q_TNH.size(0));
  EVALMPI_CHECK(q_TNH.size(2) == storage.head_dim && k_TGH.size(2) == storage.head_dim);
  const int64_t rows = q_TNH.size(0), query_heads = q_TNH.size(1), kv_heads = k_TGH.size(1);
  EVALMPI_CHECK(kv_heads == storage.kv_heads && v_TGU.size(1) == kv_heads && v_TGU.size(2) == storage.value_dim);
  EVALMPI_CHECK(layer >= 0 && layer < static_cast<int64_t>(storage.layers.size()));
  EVALMPI_CHECK(static_cast<int64_t>(kv_head_of_query_N.size()) == query_heads);
  check_rule(rule, query_heads, spans);
  std::vector<std::vector<int32_t>> query_heads_of(kv_heads);
  for (int32_t n = 0; n < query_heads; ++n) {
    EVALMPI_CHECK(kv_head_of_query_N[n] >= 0 && kv_head_of_query_N[n] < kv_heads);
    query_heads_of[kv_head_of_query_N[n]].push_back(n);
  }
  admit_spans(spans, rows, layer, store);
  at::Tensor out = at::zeros({rows, query_heads * storage.value_dim}, q_TNH.options().requires_grad(false));
  const Call call = {.q = q_TNH.const_data_ptr<float>(),
                     .k = k_TGH.const_data_ptr<float>(),
                     .v = v_TGU.const_data_ptr<float>(),
                     .out = out.mutable_data_ptr<float>(),
                     .query_heads = query_heads,
                     .kv_heads = kv_heads,
                     .head_dim = storage.head_dim,
                     .value_dim = storage.value_dim,
                     .spans = spans,
                     .store = storage,
                     .layer = layer,
                     .rule = rule};
  in_parallel(kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) attend_spans(call, head, query_heads_of[head]);
  });
  return out;
}

}  // namespace evalmpi::ops

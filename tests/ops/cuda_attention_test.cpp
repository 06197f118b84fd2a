// The source of the CUDA kernels for attention, run on the CPU (emulated_cuda/block.h) with the tables and the store
// that devices use, against the CPU's kernel.

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cmath>

#include "block.h"
#include "cuda/attend.cuh"
#include "cuda/device_store.h"
#include "cuda/rows.cuh"
#include "cuda/slot_tables.h"
#include "emulated.h"
#include "evalmpi/ops/attention.h"
#include "kernel_test.h"

namespace evalmpi::ops::cuda {
namespace {

struct Heads {
  int64_t query, kv, dim, value_dim;
  Heads(int64_t query_heads, int64_t kv_heads, int64_t head_dim, int64_t of_values = 0)
      : query(query_heads), kv(kv_heads), dim(head_dim), value_dim(of_values > 0 ? of_values : head_dim) {}
  std::vector<int32_t> kv_of_query() const {
    std::vector<int32_t> map;
    for (int64_t n = 0; n < query; ++n) map.push_back(static_cast<int32_t>(n * kv / query));
    return map;
  }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(dim)); }
};

struct Rows {
  at::Tensor q, k, v;
};

Rows random_rows(const Heads& heads, int64_t count, uint32_t seed) {
  return {random_tensor({count, heads.query, heads.dim}, seed, 2.0f),
          random_tensor({count, heads.kv, heads.dim}, seed + 1),
          random_tensor({count, heads.kv, heads.value_dim}, seed + 2)};
}

template <class T>
constexpr at::ScalarType kScalar = c10::CppTypeToScalarType<T>::value;

template <class T>
const T* elements(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

constexpr int kAnyKernel = 1;  // tile_rows of attend_rows

// A store of one layer and the two kernels, as ops/cuda drives them on a device.
template <class T>
class Emulated {
 public:
  Emulated(const Heads& heads, int64_t paths)
      : heads_(heads),
        store(1, paths, heads.kv, heads.dim, heads.value_dim, at::TensorOptions(at::kCPU).dtype(kScalar<T>)) {}

  std::vector<float> operator()(const Rows& rows, std::span<const AttentionSpan> spans, int tile_rows,
                                const AttentionRule& rule) {
    const std::vector<int32_t> map = heads_.kv_of_query();
    const HeadOrder order = make_head_order(map, heads_.kv);
    const at::Tensor q = rows.q.to(kScalar<T>), k = rows.k.to(kScalar<T>), v = rows.v.to(kScalar<T>);
    SpanTables tables = store.admit(spans, q.size(0), tile_rows);
    // As a plan that is filled again leaves them.
    tables.tiles.push_back({});
    tables.stored.push_back({-1, 0});
    std::vector<T> out(q.size(0) * heads_.query * heads_.value_dim, T(777.0f));
    const AttendCall<T> call = {.q = elements<T>(q),
                                .k = elements<T>(k),
                                .v = elements<T>(v),
                                .stored_k = elements<T>(store.keys(0)),
                                .stored_v = elements<T>(store.values(0)),
                                .sources = tables.sources.data(),
                                .tiles = tables.tiles.data(),
                                .query_head_order = order.query_head.data(),
                                .query_head_begin = order.begin.data(),
                                .kv_head_of_order = order.kv_head.data(),
                                .bias = rule.bias_NP.defined() ? rule.bias_NP.const_data_ptr<float>() : nullptr,
                                .sinks = rule.sink_N.defined() ? rule.sink_N.const_data_ptr<float>() : nullptr,
                                .bias_step = rule.bias_NP.defined() ? rule.bias_NP.size(1) : 0,
                                .query_heads = static_cast<int32_t>(heads_.query),
                                .kv_heads = static_cast<int32_t>(heads_.kv),
                                .head_dim = static_cast<int32_t>(heads_.dim),
                                .value_dim = static_cast<int32_t>(heads_.value_dim),
                                .window = static_cast<int32_t>(rule.window),
                                .scale = static_cast<float>(rule.scale),
                                .soft_cap = static_cast<float>(rule.soft_cap),
                                .out = out.data()};
    run(call, static_cast<int64_t>(tables.tiles.size()), tile_rows, order.most_of_a_kv_head);
    Block::run_grid(grid(static_cast<int64_t>(tables.stored.size())), kRowThreads, [&] {
      store_rows<T>(elements<T>(k), elements<T>(v), tables.stored.data(), heads_.kv * heads_.dim,
                    heads_.kv * heads_.value_dim, static_cast<T*>(store.keys(0).mutable_data_ptr()),
                    static_cast<T*>(store.values(0).mutable_data_ptr()));
    });
    return widened(out);
  }

 private:
  Heads heads_;

  void run(const AttendCall<T>& call, int64_t tiles, int tile_rows, int64_t group) const {
    if constexpr (!std::is_same_v<T, float>) {
      if (tile_rows > kAnyKernel || heads_.dim % 16 == 0) {
        const int64_t runs = (tile_rows * group + kQuerySlots - 1) / kQuerySlots;
        return Block::run_grid(grid(tiles, heads_.kv, runs), kAttendThreads, [&] {
          heads_.dim == 16    ? attend_tiles<T, 16, 16>(call)
          : heads_.dim == 64  ? attend_tiles<T, 64, 64>(call)
          : heads_.dim == 80  ? attend_tiles<T, 80, 80>(call)
          : heads_.dim == 192 ? attend_tiles<T, 192, 128>(call)
                              : attend_tiles<T, 256, 256>(call);
        });
      }
    }
    Block::run_grid(grid(tiles, heads_.query), kAttendThreads, [&] { attend_rows<T>(call); });
  }

 public:
  DeviceStore store;
};

// The CPU's kernel on the same rows, rounded to T.
template <class T>
std::vector<float> on_the_cpu(const Heads& heads, const Rows& rows, std::span<const AttentionSpan> spans,
                              KeyValueStore& store, const AttentionRule& rule) {
  const at::Tensor out =
      attention(rounded<T>(rows.q), rounded<T>(rows.k), rounded<T>(rows.v), spans, store, 0, heads.kv_of_query(), rule);
  return {values(out).begin(), values(out).end()};
}

std::vector<AttentionRule> all_rules(const Heads& heads, int64_t positions) {
  const at::Tensor bias = random_tensor({heads.query, positions}, 24), sink = random_tensor({heads.query}, 25);
  return {{.scale = heads.scale()},
          {.scale = heads.scale(), .window = 20},
          {.scale = heads.scale(), .window = 66, .sink_N = sink},
          {.scale = heads.scale(), .soft_cap = 0.9, .bias_NP = bias, .sink_N = sink},
          {.scale = heads.scale(), .window = 31, .soft_cap = 2.0, .bias_NP = bias}};
}

// A trunk, then a tree below it on path 1, a sequence on path 0, depth first, in one call.
const std::vector<AttentionSpan> kTrunk = {{1, 0, 0, 70}};
const std::vector<AttentionSpan> kTree = {{1, 70, 0, 9},  {1, 79, 9, 30},  {0, 0, 39, 5},
                                          {1, 79, 44, 2}, {1, 70, 46, 20}, {1, 60, 66, 3}};
constexpr int64_t kTrunkRows = 70, kTreeRows = 69;

template <class T>
void expect_tree_agrees(const Heads& heads, int tile_rows, float tolerance, size_t rules = 5) {
  const Rows trunk = random_rows(heads, kTrunkRows, 1), tree = random_rows(heads, kTreeRows, 5),
             next = random_rows(heads, 3, 9);
  const std::vector<AttentionSpan> ends = {{1, 63, 0, 1}, {0, 5, 1, 2}};  // what the tree left behind on the paths
  std::vector<AttentionRule> chosen = all_rules(heads, 128);
  for (size_t i = chosen.size() - rules; i < chosen.size(); ++i) {
    SCOPED_TRACE(i);
    const AttentionRule& rule = chosen[i];
    Emulated<T> emulated(heads, 2);
    KeyValueStore store(1, 2, heads.kv, heads.dim, heads.value_dim);
    const auto agrees = [&](const Rows& rows, const std::vector<AttentionSpan>& spans) {
      return close(emulated(rows, spans, tile_rows, rule), on_the_cpu<T>(heads, rows, spans, store, rule), tolerance);
    };
    EXPECT_TRUE(agrees(trunk, kTrunk));
    EXPECT_TRUE(agrees(tree, kTree));
    EXPECT_TRUE(agrees(next, ends));
  }
}

TEST(CudaAttention, rows_of_any_type_and_head_size_agree_with_the_cpu) {
  expect_tree_agrees<float>({2, 1, 20}, kAnyKernel, 5e-6f);
  expect_tree_agrees<float>({3, 3, 12, 7}, kAnyKernel, 5e-6f);
  expect_tree_agrees<c10::BFloat16>({1, 1, 5}, kAnyKernel, 1e-2f, 1);
}

TEST(CudaAttention, tiles_agree_with_the_cpu) {
  expect_tree_agrees<c10::BFloat16>({4, 2, 64}, 32, 2e-2f);
  expect_tree_agrees<c10::Half>({7, 1, 16}, 9, 2e-3f);
  expect_tree_agrees<c10::Half>({3, 3, 80}, 64, 2e-3f, 1);
  expect_tree_agrees<c10::Half>({1, 1, 256}, 64, 2e-3f, 1);
  expect_tree_agrees<c10::Half>({2, 2, 192, 128}, 64, 2e-3f, 1);
}

TEST(CudaAttention, more_query_heads_than_a_block_has_slots_agree_with_the_cpu) {
  expect_tree_agrees<c10::Half>({71, 1, 16}, 1, 2e-3f, 1);
}

TEST(CudaAttention, bits_do_not_depend_on_tiles_or_cuts) {
  const Heads heads = {4, 2, 16};
  const Rows rows = random_rows(heads, 140, 21);
  const std::vector<AttentionSpan> all = {{0, 0, 0, 140}};
  for (const AttentionRule& rule : all_rules(heads, 160)) {
    const std::vector<float> expected = Emulated<c10::BFloat16>(heads, 1)(rows, all, 32, rule);
    for (const int tile_rows : {2, 5, 31}) {
      EXPECT_TRUE(same_bits(Emulated<c10::BFloat16>(heads, 1)(rows, all, tile_rows, rule), expected));
    }
    for (const std::vector<int32_t>& cuts : {std::vector<int32_t>{1, 63, 64, 12}, {100, 40}, {139, 1}}) {
      Emulated<c10::BFloat16> in_parts(heads, 1);
      std::vector<float> joined;
      int32_t begin = 0;
      for (const int32_t length : cuts) {
        const Rows part = {rows.q.narrow(0, begin, length), rows.k.narrow(0, begin, length),
                           rows.v.narrow(0, begin, length)};
        for (const float value : in_parts(part, std::vector<AttentionSpan>{{0, begin, 0, length}}, 32, rule))
          joined.push_back(value);
        begin += length;
      }
      EXPECT_TRUE(same_bits(joined, expected));
    }
  }
}

// As Attention.a_shared_trunk_gives_the_bits_of_copies: forks off a trunk and off one another, in one call and later.
TEST(CudaAttention, shared_trunks_and_forks_agree_with_the_cpu) {
  const Heads heads = {2, 1, 8};
  const Rows of_trunk = random_rows(heads, 275, 21), own = random_rows(heads, 30, 22), last = random_rows(heads, 4, 23);
  for (const int32_t trunk : {275, 260}) {
    const std::vector<AttentionSpan> whole = {{0, 0, 0, trunk}};
    const Rows trunk_rows = {of_trunk.q.narrow(0, 0, trunk), of_trunk.k.narrow(0, 0, trunk),
                             of_trunk.v.narrow(0, 0, trunk)};
    const std::vector<AttentionSpan> forks = {{.path = 3, .start = trunk, .row = 0, .length = 17, .fork = 0},
                                              {.path = 1, .start = trunk, .row = 17, .length = 1, .fork = 0},
                                              {.path = 4, .start = trunk + 9, .row = 18, .length = 5, .fork = 3},
                                              {.path = 2, .start = 256, .row = 23, .length = 7, .fork = 0}};
    const std::vector<AttentionSpan> ends = {
        {2, 263, 0, 1}, {1, trunk + 1, 1, 1}, {4, trunk + 14, 2, 1}, {3, trunk + 17, 3, 1}};
    for (const AttentionRule& rule : {AttentionRule{.scale = 0.2}, AttentionRule{.scale = 0.2, .window = 270}}) {
      Emulated<float> emulated(heads, 5);
      KeyValueStore store(1, 5, heads.kv, heads.dim, heads.value_dim);
      const auto agrees = [&](const Rows& rows, const std::vector<AttentionSpan>& spans) {
        return close(emulated(rows, spans, kAnyKernel, rule), on_the_cpu<float>(heads, rows, spans, store, rule),
                     5e-6f);
      };
      EXPECT_TRUE(agrees(trunk_rows, whole));
      emulated.store.share(trunk);
      store.share(trunk);
      EXPECT_EQ(emulated.store.shared_positions(), store.shared_positions());
      EXPECT_TRUE(agrees(own, forks));
      EXPECT_TRUE(agrees(last, ends));
      // A slot is taken over by a copy of another while the rest goes on, and continues.
      emulated.store.copy_path(4, 1, trunk + 12);
      store.copy_path(4, 1, trunk + 12);
      EXPECT_TRUE(agrees(last, {{1, trunk + 12, 0, 1}, {4, trunk + 15, 1, 2}, {3, trunk + 18, 3, 1}}));
    }
  }
}

TEST(CudaAttention, a_path_of_another_store_is_copied) {
  const Heads heads = {2, 2, 8};
  const AttentionRule rule = {.scale = 0.3};
  const Rows rows = random_rows(heads, 300, 3), more = random_rows(heads, 2, 4);
  Emulated<float> from(heads, 2), to(heads, 3);
  from(rows, std::vector<AttentionSpan>{{1, 0, 0, 300}}, kAnyKernel, rule);
  to.store.reserve(300);
  to.store.copy_from(from.store, 1, 0, 290);
  const std::vector<float> want = from(more, std::vector<AttentionSpan>{{1, 290, 0, 2}}, kAnyKernel, rule);
  EXPECT_TRUE(same_bits(to(more, std::vector<AttentionSpan>{{0, 290, 0, 2}}, kAnyKernel, rule), want));
  // What both share stays.
  to.store.share(290);
  to.store.copy_from(from.store, 1, 2, 290);
  EXPECT_TRUE(same_bits(to(more, std::vector<AttentionSpan>{{2, 290, 0, 2}}, kAnyKernel, rule), want));
}

TEST(SlotTables, spans_without_rows_have_no_part) {
  SlotTables slots(2);
  const SpanTables tables = slots.admit(std::vector<AttentionSpan>{{1, 0, 0, 0}, {1, 0, 0, 5}}, 5, 2);
  EXPECT_EQ(tables.sources, (std::vector<int32_t>{~0, ~1, ~2, ~3, ~4}));
  EXPECT_EQ(tables.tiles.size(), 3u);
  EXPECT_EQ(tables.stored.size(), 5u);
  EXPECT_EQ(slots.length(1), 5);
}

TEST(SlotTables, slots_come_back_when_the_last_path_lets_go) {
  SlotTables slots(3);
  slots.admit(std::vector<AttentionSpan>{{0, 0, 0, 10}}, 10, 64);
  for (int round = 0; round < 5; ++round) {
    slots.admit(std::vector<AttentionSpan>{{.path = 1, .start = 8, .row = 0, .length = 3, .fork = 0},
                                           {.path = 2, .start = 9, .row = 3, .length = 1, .fork = 1}},
                4, 64);
  }
  EXPECT_EQ(slots.slot_count(), 10 + 3 + 1);
  // A later writer of a slot's position does not touch what others see.
  const std::vector<int32_t> before(slots.slots(2).begin(), slots.slots(2).end());
  slots.admit(std::vector<AttentionSpan>{{0, 0, 0, 10}}, 10, 64);
  EXPECT_EQ(std::vector<int32_t>(slots.slots(2).begin(), slots.slots(2).end()), before);
  for (const int32_t slot : slots.slots(0)) EXPECT_EQ(std::count(before.begin(), before.end(), slot), 0);
}

TEST(SlotTables, spans_continue_what_is_there) {
  SlotTables slots(2);
  slots.admit(std::vector<AttentionSpan>{{0, 0, 0, 300}}, 300, 64);
  EXPECT_ANY_THROW(slots.admit(std::vector<AttentionSpan>{{0, 301, 0, 1}}, 1, 64));
  EXPECT_ANY_THROW(slots.admit(std::vector<AttentionSpan>{{1, 1, 0, 1}}, 1, 64));
  EXPECT_ANY_THROW(slots.admit(std::vector<AttentionSpan>{{0, 300, 0, 2}}, 1, 64));
  slots.share(300);
  EXPECT_ANY_THROW(slots.admit(std::vector<AttentionSpan>{{0, 255, 0, 1}}, 1, 64));
  slots.admit(std::vector<AttentionSpan>{{.path = 1, .start = 256, .row = 0, .length = 1, .fork = 0}}, 1, 64);
}

}  // namespace
}  // namespace evalmpi::ops::cuda

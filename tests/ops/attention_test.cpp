#include "evalmpi/ops/attention.h"

#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/linear.h"
#include "evalmpi/ops/threads.h"
#include "kernel_test.h"

namespace evalmpi::ops {
namespace {

struct Heads {
  int64_t query, kv, dim;
  std::vector<int32_t> kv_of_query() const {
    std::vector<int32_t> map;
    for (int64_t n = 0; n < query; ++n) map.push_back(static_cast<int32_t>(n * kv / query));
    return map;
  }
};
const Heads kHeads[] = {{7, 7, 5}, {10, 5, 64}, {4, 1, 80}, {2, 2, 128}, {17, 1, 16}, {3, 3, 300}};

struct Sequence {
  at::Tensor q, k, v;
  Sequence rows(int64_t begin, int64_t count) const {
    return {q.narrow(0, begin, count), k.narrow(0, begin, count), v.narrow(0, begin, count)};
  }
};

Sequence random_sequence(const Heads& heads, int64_t length, uint32_t seed) {
  return {random_tensor({length, heads.query, heads.dim}, seed, 2.0f),
          random_tensor({length, heads.kv, heads.dim}, seed + 1),
          random_tensor({length, heads.kv, heads.dim}, seed + 2)};
}

Sequence joined(const std::vector<Sequence>& parts) {
  std::vector<at::Tensor> q, k, v;
  for (const Sequence& part : parts) {
    q.push_back(part.q);
    k.push_back(part.k);
    v.push_back(part.v);
  }
  return {at::cat(q, 0), at::cat(k, 0), at::cat(v, 0)};
}

at::Tensor attend(const Heads& heads, const Sequence& s, std::vector<AttentionSpan> spans, KeyValueStore& store,
                  int64_t window = 0) {
  return attention(s.q, s.k, s.v, spans, store, 0, heads.kv_of_query(),
                   {.scale = 1.0 / std::sqrt(heads.dim), .window = window});
}

at::Tensor attend_whole(const Heads& heads, const Sequence& s, int64_t window = 0) {
  KeyValueStore store(1, 1, heads.kv, heads.dim, heads.dim);
  return attend(heads, s, {{.path = 0, .start = 0, .row = 0, .length = static_cast<int32_t>(s.q.size(0))}}, store,
                window);
}

std::vector<double> softmax_attention(const Heads& heads, const Sequence& s, int64_t window) {
  const int64_t length = s.q.size(0), dim = heads.dim;
  const auto q = values(s.q), k = values(s.k), v = values(s.v);
  std::vector<double> out(length * heads.query * dim, 0.0);
  for (int64_t i = 0; i < length; ++i)
    for (int64_t n = 0; n < heads.query; ++n) {
      const int64_t g = heads.kv_of_query()[n], first = window > 0 ? std::max<int64_t>(0, i - window + 1) : 0;
      std::vector<double> weight;
      double sum = 0.0;
      for (int64_t j = first; j <= i; ++j) {
        double score = 0.0;
        for (int64_t d = 0; d < dim; ++d)
          score += double{q[(i * heads.query + n) * dim + d]} * k[(j * heads.kv + g) * dim + d];
        weight.push_back(std::exp(score / std::sqrt(dim)));
        sum += weight.back();
      }
      for (int64_t j = first; j <= i; ++j)
        for (int64_t d = 0; d < dim; ++d)
          out[(i * heads.query + n) * dim + d] += weight[j - first] / sum * v[(j * heads.kv + g) * dim + d];
    }
  return out;
}

TEST(Attention, agrees_with_double_precision) {
  for (const Heads& heads : kHeads)
    for (int64_t length : {1, 2, 17, 70})
      for (int64_t window : {0, 1, 5, 16, 40}) {
        const Sequence s = random_sequence(heads, length, 1);
        const at::Tensor out = on_every_variant([&] { return attend_whole(heads, s, window); });
        EXPECT_EQ(out.sizes(), at::IntArrayRef({length, heads.query * heads.dim}));
        EXPECT_TRUE(near(values(out), softmax_attention(heads, s, window), 5e-6))
            << heads.query << " heads of " << heads.dim << ", length " << length << ", window " << window;
      }
}

TEST(Attention, agrees_with_double_precision_over_several_blocks_of_positions) {
  const Heads heads = {4, 2, 20};
  const Sequence s = random_sequence(heads, 700, 2);
  for (int64_t window : {0, 255, 300})
    EXPECT_TRUE(near(values(attend_whole(heads, s, window)), softmax_attention(heads, s, window), 5e-6)) << window;
}

TEST(Attention, bits_do_not_depend_on_how_rows_are_cut_into_spans) {
  for (const Heads& heads : kHeads)
    for (int64_t window : {0, 9}) {
      const Sequence s = random_sequence(heads, 50, 3);
      const at::Tensor whole = attend_whole(heads, s, window);
      for (const std::vector<int32_t>& cuts : {std::vector<int32_t>(50, 1), {20, 30}, {1, 48, 1}, {13, 14, 15, 8}}) {
        std::vector<AttentionSpan> spans;
        std::vector<at::Tensor> parts;
        KeyValueStore together(1, 1, heads.kv, heads.dim, heads.dim), apart(1, 1, heads.kv, heads.dim, heads.dim);
        int32_t row = 0;
        for (int32_t length : cuts) {
          spans.push_back({.path = 0, .start = row, .row = row, .length = length});
          parts.push_back(attend(heads, s.rows(row, length), {{.path = 0, .start = row, .row = 0, .length = length}},
                                 apart, window));
          row += length;
        }
        EXPECT_TRUE(same_bits(attend(heads, s, spans, together, window), whole));
        EXPECT_TRUE(same_bits(at::cat(parts, 0), whole));
      }
    }
}

TEST(Attention, bits_do_not_depend_on_cuts_across_blocks_of_positions) {
  const Heads heads = {2, 1, 24};
  const Sequence s = random_sequence(heads, 600, 4);
  for (int64_t window : {0, 260, 256}) {
    const at::Tensor whole = on_every_variant([&] { return attend_whole(heads, s, window); });
    for (int32_t cut : {1, 255, 256, 257, 511, 513, 599}) {
      KeyValueStore store(1, 1, heads.kv, heads.dim, heads.dim);
      EXPECT_TRUE(same_bits(attend(heads, s, {{0, 0, 0, cut}, {0, cut, cut, 600 - cut}}, store, window), whole)) << cut;
    }
  }
}

TEST(Attention, branches_of_a_tree_equal_plain_sequences) {
  const Heads heads = {6, 2, 64};
  const Sequence trunk = random_sequence(heads, 21, 5), left = random_sequence(heads, 30, 6);
  const Sequence right = random_sequence(heads, 9, 7), leaf = random_sequence(heads, 5, 8);
  KeyValueStore store(1, 1, heads.kv, heads.dim, heads.dim);
  // trunk -> left, trunk -> right -> leaf, depth first on one path
  const at::Tensor tree = attend(heads, joined({trunk, left, right, leaf}),
                                 {{0, 0, 0, 21}, {0, 21, 21, 30}, {0, 21, 51, 9}, {0, 30, 60, 5}}, store);
  EXPECT_TRUE(same_bits(tree.narrow(0, 0, 51), attend_whole(heads, joined({trunk, left}))));
  EXPECT_TRUE(same_bits(tree.narrow(0, 51, 14), attend_whole(heads, joined({trunk, right, leaf})).narrow(0, 21, 14)));
}

TEST(Attention, later_positions_and_siblings_have_no_influence_even_as_nan) {
  const Heads heads = {4, 2, 20};
  const Sequence s = random_sequence(heads, 40, 9);
  const at::Tensor clean = attend_whole(heads, s);
  const float poisons[] = {std::nanf(""), std::numeric_limits<float>::infinity()};
  for (float poison : poisons) {
    Sequence poisoned = {s.q.clone(), s.k.clone(), s.v.clone()};
    poisoned.k.narrow(0, 25, 15).fill_(poison);
    poisoned.v.narrow(0, 25, 15).fill_(poison);
    KeyValueStore store(1, 1, heads.kv, heads.dim, heads.dim);
    for_each_variant([&] {
      const at::Tensor out = attend(heads, poisoned, {{0, 0, 0, 40}}, store);
      EXPECT_TRUE(same_bits(out.narrow(0, 0, 25), clean.narrow(0, 0, 25)));
      for (float v : values(out.narrow(0, 25, 15))) EXPECT_TRUE(std::isnan(v));
      EXPECT_TRUE(same_bits(attend(heads, s.rows(10, 12), {{0, 10, 0, 12}}, store), clean.narrow(0, 10, 12)));
    });
    // A window forgets the poison once it has moved past it.
    Sequence early = {s.q.clone(), s.k.clone(), s.v.clone()};
    early.k.narrow(0, 0, 3).fill_(poison);
    early.v.narrow(0, 0, 3).fill_(poison);
    EXPECT_TRUE(same_bits(attend_whole(heads, early, 6).narrow(0, 8, 32), attend_whole(heads, s, 6).narrow(0, 8, 32)));
  }
}

TEST(Attention, paths_are_independent_and_can_be_copied) {
  const Heads heads = {4, 4, 12};
  const Sequence a = random_sequence(heads, 37, 10), b = random_sequence(heads, 37, 11);
  const Sequence both = {at::cat(std::vector<at::Tensor>{a.q, b.q}, 0), at::cat(std::vector<at::Tensor>{a.k, b.k}, 0),
                         at::cat(std::vector<at::Tensor>{a.v, b.v}, 0)};
  KeyValueStore store(1, 3, heads.kv, heads.dim, heads.dim);
  const at::Tensor out = attend(heads, both, {{2, 0, 0, 37}, {0, 0, 37, 37}}, store);
  EXPECT_TRUE(same_bits(out.narrow(0, 0, 37), attend_whole(heads, a)));
  EXPECT_TRUE(same_bits(out.narrow(0, 37, 37), attend_whole(heads, b)));
  store.reserve(1000);
  store.copy_path(2, 1, 29);
  EXPECT_TRUE(same_bits(attend(heads, a.rows(29, 8), {{1, 29, 0, 8}}, store), attend_whole(heads, a).narrow(0, 29, 8)));
  EXPECT_TRUE(same_bits(attend(heads, b.rows(36, 1), {{0, 36, 0, 1}}, store), attend_whole(heads, b).narrow(0, 36, 1)));
  EXPECT_EQ(store.bytes(), 3 * 4 * 1008 * (12 + 16) * 4);
}

TEST(Attention, a_span_may_fork_off_a_path_that_the_same_call_writes) {
  for (const Heads& heads : kHeads) {
    const Sequence first = random_sequence(heads, 40, 11), second = random_sequence(heads, 30, 14);
    const auto spliced = [&](int64_t shared) {
      const Sequence a = first.rows(0, shared), b = second.rows(0, 20);
      return Sequence{at::cat({a.q, b.q}, 0), at::cat({a.k, b.k}, 0), at::cat({a.v, b.v}, 0)};
    };
    KeyValueStore store(1, 3, heads.kv, heads.dim, heads.dim);
    attend(heads, second, {{.path = 2, .start = 0, .row = 0, .length = 30}}, store);  // left behind from earlier
    const Sequence rows{at::cat({first.q, second.rows(0, 20).q, second.rows(0, 20).q}, 0),
                        at::cat({first.k, second.rows(0, 20).k, second.rows(0, 20).k}, 0),
                        at::cat({first.v, second.rows(0, 20).v, second.rows(0, 20).v}, 0)};
    const at::Tensor out = attend(heads, rows,
                                  {{.path = 0, .start = 0, .row = 0, .length = 40},
                                   {.path = 2, .start = 37, .row = 40, .length = 20, .fork = 0},
                                   {.path = 1, .start = 16, .row = 60, .length = 20, .fork = 2}},
                                  store);
    EXPECT_TRUE(same_bits(out.narrow(0, 0, 40), attend_whole(heads, first)));
    EXPECT_TRUE(same_bits(out.narrow(0, 40, 20), attend_whole(heads, spliced(37)).narrow(0, 37, 20)));
    EXPECT_TRUE(same_bits(out.narrow(0, 60, 20), attend_whole(heads, spliced(16)).narrow(0, 16, 20)));
  }
}

// Paths that continue a trunk on path 0, which they share or copy.
struct Branches {
  Heads heads;
  AttentionRule rule;
  int32_t trunk;  // positions
  KeyValueStore store{1, 5, heads.kv, heads.dim, heads.dim};

  Branches(const Heads& of_heads, const AttentionRule& of_rule, int32_t trunk_positions, bool is_shared)
      : heads(of_heads), rule(of_rule), trunk(trunk_positions) {
    const Sequence s = random_sequence(heads, trunk, 21);
    const std::vector<AttentionSpan> whole = {{0, 0, 0, trunk}};
    attention(s.q, s.k, s.v, whole, store, 0, heads.kv_of_query(), rule);
    store.share(is_shared ? trunk : 0);
    EXPECT_EQ(store.shared_positions(), is_shared ? trunk / 256 * 256 : 0);
  }

  // Two calls: many rows and few, forks off the trunk and off one another; then a row on each.
  at::Tensor run() {
    const Sequence own = random_sequence(heads, 30, 22), next = random_sequence(heads, 4, 23);
    const std::vector<AttentionSpan> spans = {
        {.path = 3, .start = trunk, .row = 0, .length = 17, .fork = 0},
        {.path = 1, .start = trunk, .row = 17, .length = 1, .fork = 0},
        {.path = 4, .start = trunk + 9, .row = 18, .length = 5, .fork = 3},
        {.path = 2, .start = trunk / 256 * 256, .row = 23, .length = 7, .fork = 0}};
    const std::vector<AttentionSpan> ends = {
        {2, trunk / 256 * 256 + 7, 0, 1}, {1, trunk + 1, 1, 1}, {4, trunk + 14, 2, 1}, {3, trunk + 17, 3, 1}};
    const auto map = heads.kv_of_query();
    const at::Tensor first = attention(own.q, own.k, own.v, spans, store, 0, map, rule);
    return at::cat({first, attention(next.q, next.k, next.v, ends, store, 0, map, rule)}, 0);
  }
};

TEST(Attention, a_shared_trunk_gives_the_bits_of_copies) {
  for (const Heads& heads : kHeads) {
    const at::Tensor bias = random_tensor({heads.query, 600}, 24), sink = random_tensor({heads.query}, 25);
    const AttentionRule rules[] = {{.scale = 0.2},
                                   {.scale = 0.2, .window = 7},
                                   {.scale = 0.2, .window = 270},
                                   {.scale = 0.2, .soft_cap = 0.9, .bias_NP = bias, .sink_N = sink},
                                   {.scale = 0.2, .window = 31, .soft_cap = 0.9, .bias_NP = bias, .sink_N = sink}};
    for (const AttentionRule& rule : rules) {
      for (const int32_t trunk : {275, 512, 531}) {
        const at::Tensor copied = Branches(heads, rule, trunk, false).run();
        Branches shared(heads, rule, trunk, true);
        EXPECT_TRUE(same_bits(shared.run(), copied))
            << heads.query << " heads of " << heads.dim << ", window " << rule.window;
        const LentCores helper(1);
        EXPECT_TRUE(same_bits(shared.run(), copied));
        if (trunk == 275 && heads.dim < 64) for_each_variant([&] { EXPECT_TRUE(same_bits(shared.run(), copied)); });
      }
    }
  }
}

TEST(Attention, what_is_shared_cannot_be_written_and_ends_with_the_next_share) {
  const Heads heads = {4, 2, 8};
  const Sequence s = random_sequence(heads, 600, 26);
  KeyValueStore store(1, 3, 2, 8, 8);
  attend(heads, s, {{0, 0, 0, 600}}, store);
  EXPECT_THROW(store.share(601), Error);
  store.share(600);
  EXPECT_THROW(attend(heads, s.rows(0, 5), {{0, 100, 0, 5}}, store), Error);
  EXPECT_THROW(attend(heads, s.rows(0, 5), {{.path = 1, .start = 511, .row = 0, .length = 5, .fork = 0}}, store),
               Error);
  EXPECT_THROW(attend(heads, s.rows(0, 5), {{.path = 1, .start = 512, .row = 0, .length = 5}}, store), Error)
      << "no fork";
  const at::Tensor whole = attend_whole(heads, s);
  const auto forked = [&](int32_t start) {
    const Sequence rows = s.rows(start, 600 - start);
    return attend(heads, rows, {{.path = 2, .start = start, .row = 0, .length = 600 - start, .fork = 0}}, store);
  };
  EXPECT_TRUE(same_bits(forked(515), whole.narrow(0, 515, 85)));
  const int64_t shared_bytes = store.bytes();
  store.share(300);
  EXPECT_TRUE(same_bits(forked(256), whole.narrow(0, 256, 344)));
  EXPECT_GT(store.bytes(), shared_bytes);
  store.share(0);
  EXPECT_TRUE(same_bits(attend(heads, s.rows(100, 5), {{0, 100, 0, 5}}, store), whole.narrow(0, 100, 5)));
  EXPECT_TRUE(same_bits(attend(heads, s.rows(0, 9), {{1, 0, 0, 9}}, store), whole.narrow(0, 0, 9)));
}

TEST(Attention, any_map_of_query_heads_and_threads_give_the_same_bits) {
  const Heads heads = {6, 3, 16};
  const Sequence s = random_sequence(heads, 33, 12);
  const std::vector<int32_t> map = {2, 0, 0, 1, 2, 0};
  const std::vector<AttentionSpan> spans = {{0, 0, 0, 33}};
  KeyValueStore store(1, 1, 3, 16, 16);
  const at::Tensor out = attention(s.q, s.k, s.v, spans, store, 0, map, {.scale = 0.25});
  {
    const LentCores helper(1);
    EXPECT_TRUE(same_bits(attention(s.q, s.k, s.v, spans, store, 0, map, {.scale = 0.25}), out));
  }
  for (int64_t n = 0; n < 6; ++n) {
    KeyValueStore single(1, 1, 1, 16, 16);
    const at::Tensor alone =
        attention(s.q.narrow(1, n, 1).contiguous(), s.k.narrow(1, map[n], 1).contiguous(),
                  s.v.narrow(1, map[n], 1).contiguous(), spans, single, 0, std::vector<int32_t>{0}, {.scale = 0.25});
    EXPECT_TRUE(same_bits(alone, out.narrow(1, n * 16, 16)));
  }
}

TEST(Attention, a_rank_without_heads_has_nothing_to_do) {
  KeyValueStore store(2, 1, 0, 64, 64);
  const at::Tensor none = at::empty({5, 0, 64}, at::kFloat);
  const std::vector<AttentionSpan> spans = {{0, 0, 0, 5}};
  EXPECT_EQ(attention(none, none, none, spans, store, 1, {}, {.scale = 0.1}).sizes(), at::IntArrayRef({5, 0}));
  KeyValueStore keys_only(1, 1, 1, 64, 64);
  const at::Tensor kv = random_tensor({5, 1, 64}, 13);
  EXPECT_EQ(attention(none, kv, kv, spans, keys_only, 0, {}, {.scale = 0.1}).sizes(), at::IntArrayRef({5, 0}));
}

TEST(Attention, a_span_cannot_begin_beyond_what_its_path_holds) {
  const Heads heads = {2, 2, 8};
  const Sequence s = random_sequence(heads, 10, 14);
  KeyValueStore store(1, 1, 2, 8, 8);
  EXPECT_THROW(attend(heads, s, {{0, 3, 0, 10}}, store), Error);
  EXPECT_THROW(attend(heads, s, {{1, 0, 0, 10}}, store), Error);
  EXPECT_THROW(attend(heads, s, {{0, 0, 5, 10}}, store), Error);
}

// One query head and one KV head, in double precision.
std::vector<double> ruled_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const AttentionRule& rule) {
  const int64_t length = q.size(0), dim = q.size(2), value_dim = v.size(2);
  std::vector<double> out;
  for (int64_t i = 0; i < length; ++i) {
    std::vector<double> weight;
    double sum = rule.sink_N.defined() ? std::exp(double{values(rule.sink_N)[0]}) : 0.0;
    for (int64_t j = 0; j <= i; ++j) {
      double score = 0;
      for (int64_t d = 0; d < dim; ++d) score += double{values(q)[i * dim + d]} * values(k)[j * dim + d];
      score *= rule.scale;
      if (rule.soft_cap > 0) score = rule.soft_cap * std::tanh(score / rule.soft_cap);
      if (rule.bias_NP.defined()) score += values(rule.bias_NP)[j];
      weight.push_back(rule.window > 0 && j <= i - rule.window ? 0.0 : std::exp(score));
      sum += weight.back();
    }
    for (int64_t d = 0; d < value_dim; ++d) {
      double total = 0;
      for (int64_t j = 0; j <= i; ++j) total += weight[j] * values(v)[j * value_dim + d];
      out.push_back(total / sum);
    }
  }
  return out;
}

TEST(Attention, rules_agree_with_double_precision) {
  const int64_t length = 41;
  const at::Tensor q = random_tensor({length, 1, 12}, 31), k = random_tensor({length, 1, 12}, 32),
                   v = random_tensor({length, 1, 21}, 33);
  const at::Tensor bias = random_tensor({1, 50}, 34), sink = random_tensor({1}, 35);
  const AttentionRule rules[] = {{.scale = 0.4},
                                 {.scale = 0.4, .soft_cap = 0.7},
                                 {.scale = 0.4, .bias_NP = bias},
                                 {.scale = 0.4, .sink_N = sink},
                                 {.scale = 0.4, .window = 9, .soft_cap = 0.7, .bias_NP = bias, .sink_N = sink}};
  const std::vector<AttentionSpan> spans = {{0, 0, 0, 41}};
  for (const AttentionRule& rule : rules) {
    KeyValueStore store(1, 1, 1, 12, 21);
    const at::Tensor out = attention(q, k, v, spans, store, 0, std::vector<int32_t>{0}, rule);
    EXPECT_TRUE(near(values(out), ruled_attention(q, k, v, rule), 3e-6));
  }
  KeyValueStore store(1, 1, 1, 12, 21);
  EXPECT_THROW(
      attention(q, k, v, spans, store, 0, std::vector<int32_t>{0}, {.scale = 1, .bias_NP = random_tensor({1, 40}, 36)}),
      Error);
}

}  // namespace
}  // namespace evalmpi::ops

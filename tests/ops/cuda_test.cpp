// The ops on a CUDA device: against the CPU's kernels, and rows against themselves in other company.

#include <ATen/Context.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/max.h>
#include <ATen/ops/normal.h>
#include <gtest/gtest.h>

#include <cmath>

#include "cuda_device.h"
#include "evalmpi/ops/attention.h"
#include "evalmpi/ops/elementwise.h"
#include "evalmpi/ops/experts.h"
#include "evalmpi/ops/head.h"
#include "evalmpi/ops/linear.h"

namespace evalmpi::ops {
namespace {

at::Tensor random_tensor(at::IntArrayRef shape, uint64_t seed, double scale = 1.0) {
  at::Generator generator = at::globalContext().defaultGenerator(at::kCPU).clone();
  generator.set_current_seed(seed);
  return at::empty(shape, at::kFloat).normal_(0.0, scale, generator);
}

at::Tensor on_device(const at::Tensor& x, at::ScalarType type = at::kFloat) { return x.to(at::kCUDA, type); }
at::Tensor on_host(const at::Tensor& x) { return x.to(at::kCPU, at::kFloat); }

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return on_host(a).sub(on_host(b)).abs().max().item<double>();
}

const at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16, at::kHalf};
double rounding(at::ScalarType type) { return type == at::kFloat ? 2e-5 : type == at::kHalf ? 4e-3 : 3e-2; }

TEST(CudaOps, linear_agrees_with_the_cpu) {
  EVALMPI_NEEDS_CUDA();
  for (const at::ScalarType type : kTypes) {
    for (const auto& [n, k] :
         std::vector<std::pair<int64_t, int64_t>>{{301, 200}, {64, 64}, {768, 3072}, {50283, 96}, {17, 1}}) {
      const at::Tensor x = random_tensor({37, k}, 1).to(type).to(at::kFloat);
      const at::Tensor w = random_tensor({n, k}, 2, 1.0 / std::sqrt(k)).to(type),
                       bias = random_tensor({n}, 3).to(type).to(at::kFloat);
      const at::Tensor want = linear(x, PackedLinear::pack(w), bias);
      const PackedLinear weight = PackedLinear::pack(on_device(w, type));
      EXPECT_LE(largest_difference(linear(on_device(x, type), weight, on_device(bias)), want), 2e-5 * std::sqrt(k))
          << n << " x " << k;
      EXPECT_LE(largest_difference(linear(on_device(x, type), weight, on_device(bias), {.out = type}), want),
                5 * rounding(type));
    }
  }
}

TEST(CudaOps, rows_of_linear_are_pure) {
  EVALMPI_NEEDS_CUDA();
  for (const at::ScalarType type : kTypes) {
    for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{
             {301, 200}, {768, 768}, {4096, 4096}, {14336, 4096}, {4096, 14336}, {16384, 768}}) {
      const PackedLinear weight = PackedLinear::pack(on_device(random_tensor({n, k}, 1, 0.05), type));
      const at::Tensor x = on_device(random_tensor({1200, k}, 2), type);
      for (const ProductForm& form : {ProductForm{}, ProductForm{.out = type}, ProductForm{.few_rows = true},
                                      ProductForm{.out = type, .few_rows = true}}) {
        const at::Tensor whole = linear(x, weight, {}, form);
        for (const int64_t rows : {1, 2, 3, 7, 16, 17, 64, 100, 128, 256, 512, 1000, 1024}) {
          EXPECT_TRUE(linear(x.narrow(0, 37, rows), weight, {}, form).equal(whole.narrow(0, 37, rows)))
              << c10::toString(type) << " " << n << " x " << k << ", " << rows << " rows";
        }
      }
    }
  }
}

const Activation kActivations[] = {Activation::kSilu, Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu,
                                   Activation::kQuickGelu};

TEST(CudaOps, elementwise_agrees_with_the_cpu) {
  EVALMPI_NEEDS_CUDA();
  for (const int64_t width : {8, 301, 4096}) {
    const at::Tensor w = random_tensor({width}, 2), b = random_tensor({width}, 3),
                     squares = random_tensor({19, 1}, 5).abs().add(1).mul(static_cast<double>(width));
    for (const at::ScalarType type : kTypes) {
      const double bound = 4 * rounding(type);
      const at::Tensor x = random_tensor({19, width}, 1, 2.0).to(type).to(at::kFloat), y = on_device(x, type);
      EXPECT_LE(largest_difference(rms_norm(y, on_device(w), 1e-5, type), rms_norm(x, w, 1e-5)), bound);
      EXPECT_LE(largest_difference(rms_norm(on_device(x), on_device(w), 1e-5, type), rms_norm(x, w, 1e-5)), bound);
      EXPECT_LE(largest_difference(layer_norm(y, on_device(w), on_device(b), 1e-5, type), layer_norm(x, w, b, 1e-5)),
                bound);
      EXPECT_LE(largest_difference(square_sums(y), square_sums(x)), 1e-5 * 8 * static_cast<double>(width));
      EXPECT_LE(largest_difference(rms_norm_of(y, on_device(squares), width, on_device(w), 1e-5, type),
                                   rms_norm_of(x, squares, width, w, 1e-5)),
                bound);
      for (const Activation kind : kActivations) {
        EXPECT_LE(largest_difference(activate(kind, y), activate(kind, x)), 4 * bound);
        EXPECT_LE(largest_difference(activate_mul(kind, y, y), activate_mul(kind, x, x)), 10 * bound);
      }
    }
    const at::Tensor x = random_tensor({19, width}, 1, 2.0);
    EXPECT_LE(largest_difference(scale_and_cap(on_device(x), 0.5, 1.5), scale_and_cap(x, 0.5, 1.5)), 1e-6);
  }
  const at::Tensor positions = at::arange(5, at::kInt), heads = random_tensor({5, 3, 16}, 4);
  for (const bool is_interleaved : {false, true}) {
    const RotaryTable table = {random_tensor({9, 4}, 5), random_tensor({9, 4}, 6), 8, is_interleaved},
                      there = {on_device(table.cos_PR), on_device(table.sin_PR), 8, is_interleaved};
    EXPECT_LE(
        largest_difference(rotary(on_device(heads), positions.to(at::kCUDA), there), rotary(heads, positions, table)),
        1e-5);
  }
  const at::Tensor of_heads = random_tensor({3, 16}, 8);
  EXPECT_LE(largest_difference(layer_norm_of_heads(on_device(heads.view({15, 16})), on_device(of_heads), 1e-5),
                               layer_norm_of_heads(heads.view({15, 16}), of_heads, 1e-5)),
            1e-5);
  const at::Tensor words = random_tensor({11, 24}, 7);
  EXPECT_EQ(largest_difference(embedding(on_device(words), positions.to(at::kCUDA), 2), embedding(words, positions, 2)),
            0.0);
  EXPECT_EQ(largest_difference(embedding(PackedLinear::pack(on_device(words)), positions.to(at::kCUDA), 2),
                               embedding(words, positions, 2)),
            0.0);
}

TEST(CudaOps, rows_of_norms_are_pure) {
  EVALMPI_NEEDS_CUDA();
  const at::Tensor x = on_device(random_tensor({500, 4096}, 1)), w = on_device(random_tensor({4096}, 2));
  const at::Tensor whole = rms_norm(x, w, 1e-5), centred = layer_norm(x, w, w, 1e-5);
  for (const int64_t row : {0, 1, 255, 499}) {
    const at::Tensor alone = x.narrow(0, row, 1);
    EXPECT_TRUE(rms_norm(alone, w, 1e-5).equal(whole.narrow(0, row, 1)));
    EXPECT_TRUE(layer_norm(alone, w, w, 1e-5).equal(centred.narrow(0, row, 1)));
  }
}

TEST(CudaOps, experts_agree_with_the_cpu_and_are_pure) {
  EVALMPI_NEEDS_CUDA();
  const at::Tensor logits = random_tensor({700, 60}, 1), correction = random_tensor({60}, 2, 0.2);
  const RouteRule rules[] = {
      {.per_token = 4, .renormalise = true},
      {.per_token = 6, .is_sigmoid = true, .renormalise = true, .scale = 2.5, .correction_E = correction},
      {.per_token = 6, .groups = 6, .groups_per_token = 2, .group_best = 2}};
  for (const RouteRule& rule : rules) {
    RouteRule there = rule;
    if (rule.correction_E.defined()) there.correction_E = on_device(rule.correction_E);
    const Routes want = route(logits, rule), got = route(on_device(logits), there);
    const Routes alone = route(on_device(logits.narrow(0, 300, 1)), there);
    for (size_t e = 0; e < want.of_expert.size(); ++e) {
      ASSERT_TRUE(got.of_expert[e].rows_R.to(at::kCPU, at::kLong).equal(want.of_expert[e].rows_R)) << e;
      if (want.of_expert[e].rows_R.numel() == 0) continue;
      EXPECT_LE(largest_difference(got.of_expert[e].weights_R1, want.of_expert[e].weights_R1), 1e-5);
      if (alone.of_expert[e].rows_R.numel() == 0) continue;
      const at::Tensor is_row = got.of_expert[e].rows_R.eq(300);
      EXPECT_TRUE(
          got.of_expert[e].weights_R1.squeeze(1).masked_select(is_row).equal(alone.of_expert[e].weights_R1.squeeze(1)));
    }
  }
  const at::Tensor y = random_tensor({3, 40}, 3);
  ExpertRows rows = {at::arange(2, 5, at::kLong), random_tensor({3, 1}, 4)};
  const at::Tensor sum = random_tensor({7, 40}, 5), want = add_rows(sum, rows, y);
  const ExpertRows there = {rows.rows_R.to(at::kCUDA, at::kInt), on_device(rows.weights_R1)};
  EXPECT_LE(largest_difference(add_rows(on_device(sum), there, on_device(y)), want), 1e-6);
}

TEST(CudaOps, head_agrees_with_the_cpu_and_is_pure) {
  EVALMPI_NEEDS_CUDA();
  const int64_t vocabulary = 40'000, width = 64;
  const at::Tensor w = random_tensor({vocabulary, width}, 1, 0.3), x = random_tensor({2100, width}, 2);
  const at::Tensor bias = random_tensor({vocabulary}, 3);
  const std::vector<int32_t> rows = {0, 0, 3, 8, 2099}, tokens = {1000, 40'999, 17'500, 5, 20'000};
  const PackedLinear weight = PackedLinear::pack(on_device(w));
  for (const LogitRule& rule : {LogitRule{}, LogitRule{.bias_V = bias}, LogitRule{.scale = 0.5, .soft_cap = 3.0}}) {
    LogitRule there = rule;
    if (bias.defined() && rule.bias_V.defined()) there.bias_V = on_device(bias);
    const HeadPartial want = head(x, PackedLinear::pack(w), rule, 1000, rows, tokens);
    const HeadPartial got = head(on_device(x), weight, there, 1000, rows, tokens);
    EXPECT_EQ(got.argmax_R, want.argmax_R);
    for (size_t r = 0; r < 2100; ++r)
      EXPECT_NEAR(got.max_R[r] + std::log(got.sum_R[r]), want.max_R[r] + std::log(want.sum_R[r]), 2e-5);
    for (const size_t m : {0, 1, 2, 4}) EXPECT_NEAR(got.target_logit_M[m], want.target_logit_M[m], 2e-5);
    EXPECT_TRUE(std::isinf(got.target_logit_M[3]));
    const HeadPartial alone =
        head(on_device(x.narrow(0, 3, 1)), weight, there, 1000, std::vector<int32_t>{0}, std::vector<int32_t>{17'500});
    EXPECT_EQ(alone.max_R[0], got.max_R[3]);
    EXPECT_EQ(alone.sum_R[0], got.sum_R[3]);
    EXPECT_EQ(alone.target_logit_M[0], got.target_logit_M[2]);
    EXPECT_LE(largest_difference(logits(on_device(x.narrow(0, 0, 5)), weight, there),
                                 logits(x.narrow(0, 0, 5), PackedLinear::pack(w), rule)),
              2e-5);
  }
}

// Heads and rules of all families: groups, sizes with and without a kernel on matrix units, values of another width.
struct Heads {
  int64_t query, kv, dim, value_dim;
};
const Heads kHeads[] = {{4, 2, 20, 20},     {8, 2, 64, 64}, {7, 1, 16, 16},   {3, 3, 80, 80},
                        {32, 8, 128, 128},  {6, 6, 96, 96}, {71, 1, 64, 64},  {4, 4, 256, 256},
                        {16, 16, 192, 128}, {2, 2, 24, 16}, {4, 4, 112, 112}, {8, 8, 32, 32}};

// One attention on the CPU or the device, in `type`.
class Attending {
 public:
  Attending(const Heads& heads, at::ScalarType type, bool is_device)
      : heads_(heads),
        type_(type),
        is_device_(is_device),
        store(1, 3, heads.kv, heads.dim, heads.value_dim, is_device ? at::Device("cuda:0") : at::Device(at::kCPU),
              is_device ? type : at::kFloat) {
    for (int64_t n = 0; n < heads.query; ++n) map_.push_back(static_cast<int32_t>(n * heads.kv / heads.query));
    q_ = random_tensor({200, heads.query, heads.dim}, 1).to(type).to(at::kFloat);
    k_ = random_tensor({200, heads.kv, heads.dim}, 2).to(type).to(at::kFloat);
    v_ = random_tensor({200, heads.kv, heads.value_dim}, 3).to(type).to(at::kFloat);
  }

  // Rows [begin, begin + rows) of the random ones.
  at::Tensor operator()(int64_t begin, int64_t rows, const std::vector<AttentionSpan>& spans, AttentionRule rule) {
    const auto part = [&](const at::Tensor& x) {
      const at::Tensor some = x.narrow(0, begin, rows).contiguous();
      return is_device_ ? on_device(some, type_) : some;
    };
    if (is_device_ && rule.bias_NP.defined()) rule.bias_NP = on_device(rule.bias_NP);
    if (is_device_ && rule.sink_N.defined()) rule.sink_N = on_device(rule.sink_N);
    return attention(part(q_), part(k_), part(v_), spans, store, 0, map_, rule);
  }
  std::span<const int32_t> map() const { return map_; }

 private:
  Heads heads_;
  at::ScalarType type_;
  bool is_device_;
  std::vector<int32_t> map_;
  at::Tensor q_, k_, v_;

 public:
  KeyValueStore store;
};

std::vector<AttentionRule> rules_of(const Heads& heads) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(heads.dim));
  const at::Tensor bias = random_tensor({heads.query, 256}, 4), sink = random_tensor({heads.query}, 5);
  return {{.scale = scale},
          {.scale = scale, .window = 50, .sink_N = sink},
          {.scale = scale, .soft_cap = 2.0, .bias_NP = bias}};
}

TEST(CudaOps, attention_agrees_with_the_cpu_and_is_pure) {
  EVALMPI_NEEDS_CUDA();
  const std::vector<AttentionSpan> tree = {{1, 0, 0, 90}, {1, 90, 90, 40}, {0, 0, 130, 30}, {1, 90, 160, 40}};
  for (const at::ScalarType type : kTypes) {
    for (const Heads& heads : kHeads) {
      for (const AttentionRule& rule : rules_of(heads)) {
        Attending on_cpu(heads, type, false), on_gpu(heads, type, true), again(heads, type, true);
        const at::Tensor got = on_gpu(0, 200, tree, rule);
        EXPECT_LE(largest_difference(got, on_cpu(0, 200, tree, rule)), rounding(type))
            << heads.query << " heads of " << heads.dim << ", " << c10::toString(type);
        const at::Tensor first = again(0, 7, {{1, 0, 0, 7}}, rule), rest = again(7, 83, {{1, 7, 0, 83}}, rule);
        EXPECT_TRUE(at::cat(std::vector<at::Tensor>{first, rest}, 0).equal(got.narrow(0, 0, 90)));
        EXPECT_TRUE(again(160, 40, {{1, 90, 0, 40}}, rule).equal(got.narrow(0, 160, 40)));
        EXPECT_TRUE(again(160, 40, {{2, 90, 0, 40, 1}}, rule).equal(got.narrow(0, 160, 40)));
        again.store.copy_path(1, 0, 90);
        EXPECT_TRUE(again(160, 40, {{0, 90, 0, 40}}, rule).equal(got.narrow(0, 160, 40)));
        again.store.settle();
        Attending elsewhere(heads, type, true);
        elsewhere.store.reserve(130);
        elsewhere.store.copy_from(again.store, 1, 2, 90);
        EXPECT_TRUE(elsewhere(160, 40, {{2, 90, 0, 40}}, rule).equal(got.narrow(0, 160, 40)));
      }
    }
  }
}

// A plan that is filled again gives what plans of their own give, and keeps its memory.
TEST(CudaOps, plans_can_be_filled_again) {
  EVALMPI_NEEDS_CUDA();
  const Heads heads = {8, 2, 64, 64};
  const AttentionRule rule = {.scale = 0.125};
  Attending one(heads, at::kBFloat16, true), other(heads, at::kBFloat16, true);
  for (Attending* attending : {&one, &other}) {
    attending->store.reserve(64);
    (*attending)(0, 40, {{0, 0, 0, 20}, {1, 0, 20, 20}}, rule);
  }
  const auto step = [](int32_t i) { return std::vector<AttentionSpan>{{0, 20 + i, 0, 1}, {1, 20 + i, 1, 1}}; };
  AttentionPlan plan(one.store, step(0), 2, one.map(), 64);
  for (int32_t i = 0; i < 10; ++i) {
    if (i > 0) plan.refill(one.store, step(i));
    const auto rows = [&](int64_t n, uint64_t seed) {
      return on_device(random_tensor({2, n, 64}, seed + static_cast<uint64_t>(i)), at::kBFloat16);
    };
    const at::Tensor q = rows(8, 100), k = rows(2, 200), v = rows(2, 300);
    EXPECT_TRUE(attention(q, k, v, plan, one.store, 0, rule)
                    .equal(attention(q, k, v, step(i), other.store, 0, other.map(), rule)))
        << i;
  }
}

}  // namespace
}  // namespace evalmpi::ops

// The source of the CUDA kernels for rows, run on the CPU (emulated_cuda/block.h), against double precision and the
// CPU's kernels.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "block.h"
#include "cuda/experts.cuh"
#include "cuda/head.cuh"
#include "cuda/rows.cuh"
#include "emulated.h"
#include "evalmpi/ops/elementwise.h"
#include "evalmpi/ops/experts.h"
#include "kernel_test.h"

namespace evalmpi::ops::cuda {
namespace {

const float* data(const at::Tensor& x) { return x.const_data_ptr<float>(); }

template <class T, class Out>
std::vector<float> normalised(const at::Tensor& x, const at::Tensor& weight, const float* bias, const float* squares,
                              int64_t of_width, bool is_centred) {
  const std::vector<T> rows = as<T>(values(x));
  std::vector<Out> y(rows.size());
  Block::run_grid(grid(x.size(0)), kRowThreads, [&] {
    normalise_rows<T, Out>(rows.data(), data(weight), bias, squares, 1e-5f, x.size(1), weight.numel() / x.size(1),
                           of_width, is_centred, y.data());
  });
  return widened(y);
}

TEST(CudaKernels, norms_agree_with_the_cpu) {
  for (const int64_t width : {1, 301, 768}) {
    const at::Tensor x = random_tensor({3, width}, 1, 3.0f), weight = random_tensor({width}, 2),
                     bias = random_tensor({width}, 3), half = rounded<c10::Half>(x);
    EXPECT_TRUE(close(normalised<float, float>(x, weight, nullptr, nullptr, width, false),
                      values(ops::rms_norm(x, weight, 1e-5)), 3e-6f))
        << width;
    EXPECT_TRUE(close(normalised<float, float>(x, weight, data(bias), nullptr, width, true),
                      values(ops::layer_norm(x, weight, bias, 1e-5)), 3e-6f))
        << width;
    EXPECT_TRUE(close(normalised<c10::Half, c10::Half>(half, weight, nullptr, nullptr, width, false),
                      values(ops::rms_norm(half, weight, 1e-5)), 1e-3f))
        << width;
  }
}

TEST(CudaKernels, norms_of_rows_that_are_cut_over_places_agree_with_the_cpu) {
  const at::Tensor x = random_tensor({3, 40}, 1), weight = random_tensor({40}, 2);
  std::vector<float> sums(3);
  Block::run_grid(grid(3), kRowThreads, [&] { square_rows<float>(data(x), 40, sums.data()); });
  EXPECT_TRUE(close(sums, values(ops::square_sums(x).squeeze(1)), 1e-6f));
  const at::Tensor whole = random_tensor({3, 1}, 4).abs().add(50);
  EXPECT_TRUE(close(normalised<float, float>(x, weight, nullptr, data(whole), 120, false),
                    values(ops::rms_norm_of(x, whole, 120, weight, 1e-5)), 3e-6f));
}

TEST(CudaKernels, each_head_has_its_weight) {
  const at::Tensor x = random_tensor({6, 16}, 1), weight = random_tensor({3, 16}, 2);
  EXPECT_TRUE(close(normalised<float, float>(x, weight, nullptr, nullptr, 16, true),
                    values(ops::layer_norm_of_heads(x, weight, 1e-5)), 3e-6f));
}

TEST(CudaKernels, rotary_agrees_with_the_cpu) {
  const at::Tensor x = random_tensor({3, 5, 12}, 1);
  at::Tensor positions = at::empty({3}, at::kInt);
  const int32_t at[] = {8, 0, 5};
  std::copy_n(at, 3, positions.mutable_data_ptr<int32_t>());
  for (const int64_t first : {0, 4})
    for (const bool is_interleaved : {false, true}) {
      const RotaryTable table = {random_tensor({9, 4}, 2), random_tensor({9, 4}, 3), first, is_interleaved};
      std::vector<float> y(x.numel());
      Block::run_grid(grid(3), kRowThreads, [&] {
        rotate_rows<float>(data(x), at, data(table.cos_PR), data(table.sin_PR), 5, 12, static_cast<int>(first), 4,
                           is_interleaved, y.data());
      });
      EXPECT_TRUE(close(y, values(ops::rotary(x, positions, table)), 1e-6f)) << first << is_interleaved;
    }
}

template <Activation kKind>
void expect_activation() {
  for (const int64_t count : {1, 3, 4, 1024, 1029}) {
    const at::Tensor gate = random_tensor({1, count}, 1, 4.0f), up = random_tensor({1, count}, 2);
    for (const bool is_gated : {false, true}) {
      std::vector<float> y(count, 777.0f);
      Block::run_grid(grid((count + 1023) / 1024), kElementThreads, [&] {
        activate_values<float, kKind>(data(gate), is_gated ? data(up) : nullptr, count, y.data());
      });
      const at::Tensor want = is_gated ? ops::activate_mul(kKind, gate, up) : ops::activate(kKind, gate);
      EXPECT_TRUE(close(y, values(want), 2e-6f)) << count << " of kind " << static_cast<int>(kKind);
    }
  }
}

TEST(CudaKernels, activations_of_any_count_agree_with_the_cpu) {
  expect_activation<Activation::kSilu>();
  expect_activation<Activation::kGeluErf>();
  expect_activation<Activation::kGeluTanh>();
  expect_activation<Activation::kRelu>();
  expect_activation<Activation::kQuickGelu>();
}

TEST(CudaKernels, capped_logits_agree_with_the_cpu) {
  const at::Tensor x = random_tensor({1, 300}, 1, 9.0f);
  for (const float cap : {0.0f, 5.0f}) {
    std::vector<float> y(300);
    Block::run_grid(grid(2), kElementThreads, [&] { scale_and_cap_values<float>(data(x), 0.7f, cap, 300, y.data()); });
    EXPECT_TRUE(close(y, values(ops::scale_and_cap(x, 0.7f, cap)), 2e-6f));
  }
}

TEST(CudaKernels, embeddings_of_another_shard_are_zero) {
  const std::vector<c10::BFloat16> weight = as<c10::BFloat16>(std::vector<float>{1, 2, 3, 4, 5, 6});
  const int32_t ids[] = {11, 9, 12, 10, -1};
  std::vector<float> y(10);
  Block::run_grid(grid(5), kRowThreads, [&] { embed_rows<c10::BFloat16>(weight.data(), ids, 10, 3, 2, y.data()); });
  EXPECT_EQ(y, (std::vector<float>{3, 4, 0, 0, 5, 6, 1, 2, 0, 0}));
}

// What is known of each row, and the targets' logits, from logits in tiles of these widths.
struct OfTiles {
  std::vector<RunningSummary> summaries;
  std::vector<float> picked;
};
OfTiles by_tiles(const at::Tensor& logits, const std::vector<int64_t>& widths, float scale, float cap) {
  const int32_t row_of_target[] = {0, 0, 1, 2}, column_of_target[] = {0, 999, 500, -4};
  const int64_t rows = logits.size(0);
  OfTiles of{std::vector<RunningSummary>(rows), std::vector<float>(4, 777.0f)};
  int64_t column = 0;
  for (const int64_t width : widths) {
    const at::Tensor part = logits.narrow(1, column, width).contiguous();
    Block::run_grid(grid(rows), kRowThreads, [&] {
      summarise_rows(data(part), width, static_cast<int32_t>(column), scale, cap, of.summaries.data());
    });
    Block::run_grid(grid(1), kElementThreads, [&] {
      pick_targets(data(part), rows, width, 0, static_cast<int32_t>(column), scale, cap, row_of_target,
                   column_of_target, 4, of.picked.data());
    });
    column += width;
  }
  return of;
}

TEST(CudaKernels, summaries_over_tiles_are_those_of_the_row) {
  const int64_t rows = 3, width = 1000;
  at::Tensor raw = random_tensor({rows, width}, 4, 5.0f);
  float* of_first = raw.mutable_data_ptr<float>();
  of_first[7] = of_first[40] = of_first[900] = 30.0f;  // ties: the lowest id wins within and across tiles
  for (const auto& [scale, cap] : {std::pair{1.0f, 0.0f}, {0.25f, 0.0f}, {0.5f, 12.0f}}) {
    const at::Tensor logits = ops::scale_and_cap(raw, scale, cap);
    for (const std::vector<int64_t>& tiles : {std::vector<int64_t>{1000}, {1, 999}, {300, 300, 400}, {40, 960}}) {
      const OfTiles of = by_tiles(raw, tiles, scale, cap);
      for (int64_t r = 0; r < rows; ++r) {
        const std::span<const float> row(data(logits) + r * width, width);
        const auto best = std::max_element(row.begin(), row.end());
        double sum = 0.0;
        for (const float value : row) sum += std::exp(static_cast<double>(value) - *best);
        EXPECT_EQ(of.summaries[r].argmax, best - row.begin());
        EXPECT_NEAR(of.summaries[r].max, *best, 3e-6);
        EXPECT_NEAR(of.summaries[r].sum, sum, 1e-5 * sum);
      }
      const float lowest = -std::numeric_limits<float>::infinity();
      const float want[] = {data(logits)[0], data(logits)[999], data(logits)[width + 500], lowest};
      for (int m = 0; m < 3; ++m) EXPECT_NEAR(of.picked[m], want[m], 3e-6);
      EXPECT_EQ(of.picked[3], lowest);
    }
  }
  for (const float broken : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    of_first[5] = broken;
    const OfTiles of = by_tiles(raw, {400, 600}, 1.0f, 0.0f);
    EXPECT_TRUE(std::isnan(of.summaries[0].sum));
    EXPECT_FALSE(std::isnan(of.summaries[1].sum));
  }
}

TEST(CudaKernels, an_empty_shard_has_no_argmax) {
  const OfTiles of = by_tiles(at::empty({3, 0}, at::kFloat), {0}, 1.0f, 0.0f);
  EXPECT_EQ(of.summaries[2].argmax, -1);
  EXPECT_EQ(of.summaries[2].sum, 0.0f);
  EXPECT_EQ(of.summaries[2].max, -std::numeric_limits<float>::infinity());
}

void expect_routes(const at::Tensor& logits, const RouteRule& rule) {
  const int64_t rows = logits.size(0), experts = logits.size(1), entries = rows * rule.per_token;
  std::vector<int32_t> chosen(entries), counts(experts), sorted_rows(entries, -1);
  std::vector<float> weights(entries), sorted_weights(entries);
  const RouteCall call = {data(logits),
                          rule.correction_E.defined() ? data(rule.correction_E) : nullptr,
                          rows,
                          static_cast<int32_t>(experts),
                          static_cast<int32_t>(rule.per_token),
                          static_cast<int32_t>(rule.groups),
                          static_cast<int32_t>(rule.groups_per_token),
                          static_cast<int32_t>(rule.group_best),
                          static_cast<float>(rule.scale),
                          rule.is_sigmoid,
                          rule.renormalise,
                          chosen.data(),
                          weights.data()};
  Block::run_grid(grid(rows), kRowThreads, [&] { route_rows(call); });
  Block::run_grid(grid(experts), kRowThreads, [&] { count_expert(chosen.data(), entries, counts.data()); });
  const SortCall sort = {chosen.data(),
                         weights.data(),
                         counts.data(),
                         entries,
                         static_cast<int32_t>(experts),
                         static_cast<int32_t>(rule.per_token),
                         sorted_rows.data(),
                         sorted_weights.data()};
  Block::run_grid(grid(experts), kRowThreads, [&] { sort_expert(sort); });
  const Routes want = ops::route(logits, rule);
  int64_t begin = 0;
  for (int64_t e = 0; e < experts; ++e) {
    const ExpertRows& of = want.of_expert[e];
    ASSERT_EQ(counts[e], of.rows_R.numel()) << e;
    for (int64_t i = 0; i < counts[e]; ++i) {
      EXPECT_EQ(sorted_rows[begin + i], of.rows_R.const_data_ptr<int64_t>()[i]);
      EXPECT_NEAR(sorted_weights[begin + i], data(of.weights_R1)[i], 2e-6);
    }
    begin += counts[e];
  }
}

TEST(CudaKernels, experts_are_chosen_and_sorted_as_on_the_cpu) {
  at::Tensor logits = random_tensor({300, 12}, 1, 2.0f);
  std::fill_n(logits.mutable_data_ptr<float>(), 12, 0.5f);  // all tie
  const at::Tensor correction = random_tensor({12}, 2, 0.3f);
  expect_routes(logits, {.per_token = 2, .renormalise = true});
  expect_routes(logits, {.per_token = 12, .scale = 2.5});
  expect_routes(logits, {.per_token = 3, .is_sigmoid = true, .renormalise = true, .correction_E = correction});
  expect_routes(logits, {.per_token = 4, .groups = 4, .groups_per_token = 2});
  expect_routes(logits, {.per_token = 3,
                         .is_sigmoid = true,
                         .correction_E = correction,
                         .groups = 3,
                         .groups_per_token = 1,
                         .group_best = 2});
  expect_routes(random_tensor({5, 300}, 3), {.per_token = 8, .renormalise = true});
}

TEST(CudaKernels, experts_add_to_their_rows) {
  std::vector<float> sum = {1, 2, 3, 4, 5, 6};
  const int32_t rows[] = {2, 0};
  const float weights[] = {2.0f, 0.5f};
  const std::vector<c10::BFloat16> y = as<c10::BFloat16>(std::vector<float>{1, -1, 4, 8});
  Block::run_grid(grid(2), kRowThreads,
                  [&] { add_weighted_rows<c10::BFloat16>(sum.data(), rows, weights, y.data(), 2); });
  EXPECT_EQ(sum, (std::vector<float>{3, 6, 3, 4, 7, 4}));
}

}  // namespace
}  // namespace evalmpi::ops::cuda

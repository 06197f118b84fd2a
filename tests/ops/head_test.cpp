#include "evalmpi/ops/head.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "evalmpi/ops/threads.h"
#include "kernel_test.h"

namespace evalmpi::ops {
namespace {

struct Summary {
  double max, log_sum;
};

Summary summary_of(std::span<const float> logits) {
  double max = -std::numeric_limits<double>::infinity(), sum = 0.0;
  for (float z : logits) max = std::max<double>(max, z);
  for (float z : logits) sum += std::exp(z - max);
  return {max, max + std::log(sum)};
}

TEST(Head, agrees_with_log_softmax_in_double_precision) {
  for (int64_t vocabulary : {1, 7, 2048, 2049, 5003, 50257 / 4}) {
    const at::Tensor hidden = random_tensor({19, 48}, 1), weight = random_tensor({vocabulary, 48}, 2);
    const at::Tensor bias = random_tensor({vocabulary}, 3);
    const PackedLinear packed = PackedLinear::pack(weight);
    const at::Tensor logits = linear(hidden, packed, bias);
    std::vector<int32_t> rows, tokens;
    for (int32_t r = 0; r < 19; r += 2)
      for (int64_t token : {int64_t{0}, vocabulary - 1, vocabulary / 2}) {
        rows.push_back(r);
        tokens.push_back(static_cast<int32_t>(token) + 100);
      }
    for_each_variant([&] {
      const HeadPartial part = head(hidden, packed, {.bias_V = bias}, 100, rows, tokens);
      for (int64_t r = 0; r < 19; ++r) {
        const std::span<const float> row = values(logits).subspan(r * vocabulary, vocabulary);
        const Summary want = summary_of(row);
        EXPECT_EQ(part.max_R[r], static_cast<float>(want.max));
        EXPECT_NEAR(double{part.max_R[r]} + std::log(double{part.sum_R[r]}), want.log_sum, 1e-6);
        EXPECT_EQ(part.argmax_R[r], 100 + std::max_element(row.begin(), row.end()) - row.begin());
      }
      for (size_t m = 0; m < rows.size(); ++m)
        EXPECT_EQ(bits(part.target_logit_M[m]), bits(values(logits)[rows[m] * vocabulary + tokens[m] - 100]));
    });
  }
}

TEST(Head, bits_do_not_depend_on_rows_threads_or_kernel_table) {
  const at::Tensor hidden = random_tensor({200, 40}, 4);
  const PackedLinear weight = PackedLinear::pack(random_tensor({6000, 40}, 5).to(at::kBFloat16));
  const HeadPartial all = head(hidden, weight, {}, 0, {}, {});
  for (int64_t row : {0, 1, 167, 168, 199}) {
    for_each_variant([&] {
      const HeadPartial alone = head(hidden.narrow(0, row, 1), weight, {}, 0, {}, {});
      EXPECT_EQ(bits(alone.max_R[0]), bits(all.max_R[row]));
      EXPECT_EQ(bits(alone.sum_R[0]), bits(all.sum_R[row]));
      EXPECT_EQ(alone.argmax_R[0], all.argmax_R[row]);
    });
  }
  const LentCores helper(1);
  const HeadPartial two = head(hidden, weight, {}, 0, {}, {});
  EXPECT_TRUE(same_bits(two.max_R, all.max_R));
  EXPECT_TRUE(same_bits(two.sum_R, all.sum_R));
  EXPECT_EQ(two.argmax_R, all.argmax_R);
}

TEST(Head, the_lowest_id_wins_a_tie) {
  const at::Tensor hidden = random_tensor({1, 1}, 6).fill_(1.0);
  for (const std::vector<int64_t>& winners :
       {std::vector<int64_t>{4500, 2047}, {17, 3}, {9, 3}, {4999, 2048}, {33, 4096}}) {
    at::Tensor weight = random_tensor({5000, 1}, 7).clamp_(-3.0, 3.0);
    for (int64_t w : winners) weight.mutable_data_ptr<float>()[w] = 5.0f;
    const int32_t lowest = static_cast<int32_t>(std::min(winners[0], winners[1]));
    for_each_variant([&] {
      const HeadPartial part =
          head(hidden, PackedLinear::pack(weight), {}, 0, std::vector<int32_t>{0}, std::vector<int32_t>{lowest});
      EXPECT_EQ(part.argmax_R[0], lowest);
      EXPECT_EQ(bits(part.target_logit_M[0]), bits(part.max_R[0]));
    });
  }
}

TEST(Head, shards_combine_to_the_whole) {
  const at::Tensor hidden = random_tensor({5, 32}, 8), weight = random_tensor({3000, 32}, 9);
  const HeadPartial whole = head(hidden, PackedLinear::pack(weight), {}, 0, {}, {});
  const std::vector<int32_t> rows = {0, 3}, tokens = {999, 1000};
  const HeadPartial low = head(hidden, PackedLinear::pack(weight.narrow(0, 0, 1000)), {}, 0, rows, tokens);
  const HeadPartial high = head(hidden, PackedLinear::pack(weight.narrow(0, 1000, 2000)), {}, 1000, rows, tokens);
  for (size_t r = 0; r < 5; ++r) {
    const float max = std::max(low.max_R[r], high.max_R[r]);
    const double sum =
        low.sum_R[r] * std::exp(double{low.max_R[r]} - max) + high.sum_R[r] * std::exp(double{high.max_R[r]} - max);
    EXPECT_EQ(max, whole.max_R[r]);
    EXPECT_NEAR(sum / whole.sum_R[r], 1.0, 1e-6);
    EXPECT_EQ(whole.argmax_R[r], low.max_R[r] >= high.max_R[r] ? low.argmax_R[r] : high.argmax_R[r]);
  }
  const float nothing = -std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isfinite(low.target_logit_M[0]) && high.target_logit_M[0] == nothing);
  EXPECT_TRUE(std::isfinite(high.target_logit_M[1]) && low.target_logit_M[1] == nothing);
}

TEST(Head, an_empty_shard_knows_nothing) {
  const HeadPartial part = head(random_tensor({2, 8}, 10), PackedLinear::pack(random_tensor({0, 8}, 1)), {}, 50,
                                std::vector<int32_t>{1}, std::vector<int32_t>{50});
  EXPECT_EQ(part.max_R[1], -std::numeric_limits<float>::infinity());
  EXPECT_EQ(part.sum_R[1], 0.0f);
  EXPECT_EQ(part.argmax_R[1], -1);
  EXPECT_EQ(part.target_logit_M[0], -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(
      head(random_tensor({0, 8}, 1), PackedLinear::pack(random_tensor({9, 8}, 1)), {}, 0, {}, {}).max_R.empty());
}

TEST(Head, a_nan_or_infinite_logit_cannot_go_unnoticed) {
  const at::Tensor hidden = random_tensor({2, 4}, 11);
  for (float broken : {std::nanf(""), std::numeric_limits<float>::infinity()})
    for (int64_t column : {0, 15, 2047, 2048, 4999}) {
      at::Tensor bias = random_tensor({5000}, 12);
      bias.mutable_data_ptr<float>()[column] = broken;
      for_each_variant([&] {
        const HeadPartial part =
            head(hidden, PackedLinear::pack(random_tensor({5000, 4}, 13)), {.bias_V = bias}, 0, {}, {});
        EXPECT_TRUE(std::isnan(part.max_R[0]) && std::isnan(part.sum_R[0])) << column;
      });
    }
}

TEST(Head, logits_of_minus_infinity_count_as_nothing) {
  at::Tensor bias = at::empty({3000}, at::kFloat).fill_(-std::numeric_limits<float>::infinity());
  bias.mutable_data_ptr<float>()[2500] = 0.0f;
  const at::Tensor hidden = at::empty({1, 1}, at::kFloat).fill_(1.0),
                   weight = at::empty({3000, 1}, at::kFloat).fill_(2.0);
  const HeadPartial part = head(hidden, PackedLinear::pack(weight), {.bias_V = bias}, 0, {}, {});
  EXPECT_EQ(part.max_R[0], 2.0f);
  EXPECT_EQ(part.sum_R[0], 1.0f);
  EXPECT_EQ(part.argmax_R[0], 2500);
}

TEST(ExactMath, exp_is_within_two_units_in_the_last_place) {
  double worst = 0.0;
  for (float x = -103.0f; x < 88.7f; x += 0.00371f) {
    const double want = std::exp(double{x});
    const double unit = std::max(std::ldexp(1.0, std::ilogb(want) - 23), std::ldexp(1.0, -149));
    worst = std::max(worst, std::abs(exp_exact(x) - want) / unit);
  }
  EXPECT_LE(worst, 1.1);
  const float infinity = std::numeric_limits<float>::infinity();
  for_each_variant([&] {
    EXPECT_EQ(exp_exact(0.0f), 1.0f);
    EXPECT_EQ(exp_exact(-infinity), 0.0f);
    EXPECT_EQ(exp_exact(-1e30f), 0.0f);
    EXPECT_EQ(exp_exact(-103.0f), 1.401298464e-45f);
    EXPECT_EQ(exp_exact(infinity), infinity);
    EXPECT_EQ(exp_exact(89.0f), infinity);
    EXPECT_TRUE(std::isnan(exp_exact(std::nanf(""))));
  });
}

TEST(ExactMath, log_is_correctly_rounded) {
  std::mt19937 generator(1);
  for (int i = 0; i < 200000; ++i) {
    float x;
    const uint32_t any = generator() % 0x7f800000u;
    std::memcpy(&x, &any, sizeof x);
    if (x == 0.0f) continue;
    ASSERT_EQ(log_exact(x), static_cast<float>(std::log(double{x}))) << x;
  }
  EXPECT_EQ(log_exact(1.0f), 0.0f);
  EXPECT_EQ(log_exact(0.0f), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(log_exact(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(log_exact(-1.0f)) && std::isnan(log_exact(std::nanf(""))));
}

TEST(Head, scales_and_caps_logits) {
  const at::Tensor hidden = random_tensor({3, 24}, 21), weight = random_tensor({70, 24}, 22);
  const PackedLinear packed = PackedLinear::pack(weight);
  const LogitRule rule{.bias_V = random_tensor({70}, 23), .scale = 0.3, .soft_cap = 2.0};
  const at::Tensor plain = linear(hidden, packed, rule.bias_V), capped = logits(hidden, packed, rule);
  for (int64_t i = 0; i < plain.numel(); ++i)
    EXPECT_NEAR(values(capped)[i], 2.0 * std::tanh(0.3 * values(plain)[i] / 2.0), 1e-6);
  const HeadPartial part = head(hidden, packed, rule, 0, std::vector<int32_t>{1}, std::vector<int32_t>{7});
  EXPECT_EQ(part.target_logit_M[0], values(capped)[70 + 7]);
  EXPECT_EQ(part.max_R[1], *std::max_element(values(capped).begin() + 70, values(capped).begin() + 140));
}

}  // namespace
}  // namespace evalmpi::ops

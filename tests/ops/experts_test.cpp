#include "evalmpi/ops/experts.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

namespace evalmpi::ops {
namespace {

TEST(Experts, the_most_probable_are_taken_with_their_probabilities) {
  const at::Tensor logits = at::tensor(std::vector<float>{0, 2, 1, -1, 3, 3, 0, 0}, at::kFloat).view({2, 4});
  for (const bool renormalise : {false, true}) {
    const Routes routes = route(logits, {.per_token = 2, .renormalise = renormalise});
    ASSERT_EQ(routes.of_expert.size(), 4u);
    const auto rows = [&](int expert) { return routes.of_expert[expert].rows_R; };
    EXPECT_EQ(rows(0).numel(), 1);  // row 1: a tie goes to the lower number
    EXPECT_EQ(rows(1).numel(), 2);
    EXPECT_EQ(rows(2).numel(), 1);
    EXPECT_EQ(rows(3).numel(), 0);
    const double all = 1 + std::exp(2.0) + std::exp(1.0) + std::exp(-1.0), two = std::exp(2.0) + std::exp(1.0);
    EXPECT_NEAR(routes.of_expert[2].weights_R1.item<float>(), std::exp(1.0) / (renormalise ? two : all), 1e-6);
  }
}

// Two groups of three: the first has the largest score, the second the larger sum of its best two.
TEST(Experts, groups_corrections_and_scales_decide_as_written) {
  const std::vector<float> logits = {4, -4, -4, 2, 2, -1};
  const at::Tensor logits_TE = at::tensor(logits, at::kFloat).view({1, 6});
  const auto sigmoid_of = [&](size_t i) { return 1 / (1 + std::exp(-double{logits[i]})); };
  RouteRule rule{.per_token = 2, .is_sigmoid = true, .renormalise = true, .scale = 2.5, .groups = 2, .group_best = 2};
  Routes routes = route(logits_TE, rule);
  EXPECT_EQ(routes.of_expert[0].rows_R.numel(), 0);
  EXPECT_NEAR(routes.of_expert[3].weights_R1.item<float>(), 1.25, 1e-6);
  EXPECT_NEAR(routes.of_expert[4].weights_R1.item<float>(), 1.25, 1e-6);
  rule.group_best = 1;
  routes = route(logits_TE, rule);
  EXPECT_EQ(routes.of_expert[0].rows_R.numel(), 1);
  EXPECT_EQ(routes.of_expert[3].rows_R.numel(), 0);
  // The correction moves the choice, not the weights.
  rule.group_best = 2;
  rule.correction_E = at::tensor(std::vector<float>{0, 0, 0, 0, -0.5f, 0.5f}, at::kFloat);
  routes = route(logits_TE, rule);
  EXPECT_EQ(routes.of_expert[4].rows_R.numel(), 0);
  EXPECT_NEAR(routes.of_expert[5].weights_R1.item<float>(), 2.5 * sigmoid_of(5) / (sigmoid_of(3) + sigmoid_of(5)),
              1e-6);
}

TEST(Experts, sigmoid_agrees_with_double_precision) {
  const at::Tensor x = at::tensor(std::vector<float>{-30, -1, 0, 0.5f, 30}, at::kFloat);
  const at::Tensor y = sigmoid(x);
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(y[i].item<float>(), 1 / (1 + std::exp(-double{x[i].item<float>()})), 1e-6);
  }
}

}  // namespace
}  // namespace evalmpi::ops

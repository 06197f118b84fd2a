#include "evalmpi/ops/experts.h"

#include <gtest/gtest.h>

#include <ATen/ops/tensor.h>

#include <cmath>

namespace evalmpi::ops {
namespace {

TEST(Experts, the_most_probable_are_taken_with_their_probabilities) {
  const at::Tensor logits = at::tensor(std::vector<float>{0, 2, 1, -1, 3, 3, 0, 0}, at::kFloat).view({2, 4});
  for (const bool renormalise : {false, true}) {
    const Routes routes = route(logits, 2, renormalise);
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

TEST(Experts, sigmoid_agrees_with_double_precision) {
  const at::Tensor x = at::tensor(std::vector<float>{-30, -1, 0, 0.5f, 30}, at::kFloat);
  const at::Tensor y = sigmoid(x);
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(y[i].item<float>(), 1 / (1 + std::exp(-double{x[i].item<float>()})), 1e-6);
  }
}

}  // namespace
}  // namespace evalmpi::ops

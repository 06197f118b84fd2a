#include "evalmpi/ops/experts.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/head.h"

namespace evalmpi::ops {
namespace {

std::vector<float> softmax(const float* logits, int64_t count) {
  const float largest = *std::max_element(logits, logits + count);
  std::vector<float> p(static_cast<size_t>(count));
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += p[static_cast<size_t>(i)] = exp_exact(logits[i] - largest);
  for (float& x : p) x /= sum;
  return p;
}

}  // namespace

Routes route(const at::Tensor& logits_TE, int64_t per_token, bool renormalise) {
  EVALMPI_CHECK(logits_TE.dim() == 2 && logits_TE.scalar_type() == at::kFloat && logits_TE.device().is_cpu());
  const int64_t rows = logits_TE.size(0), experts = logits_TE.size(1);
  EVALMPI_CHECK(per_token >= 1 && per_token <= experts);
  const at::Tensor logits = logits_TE.contiguous();
  std::vector<std::vector<int64_t>> rows_of(static_cast<size_t>(experts));
  std::vector<std::vector<float>> weights_of(static_cast<size_t>(experts));
  std::vector<int64_t> order(static_cast<size_t>(experts));
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<float> p = softmax(logits.const_data_ptr<float>() + row * experts, experts);
    std::iota(order.begin(), order.end(), int64_t{0});
    std::partial_sort(order.begin(), order.begin() + per_token, order.end(), [&](int64_t a, int64_t b) {
      const float pa = p[static_cast<size_t>(a)], pb = p[static_cast<size_t>(b)];
      return pa != pb ? pa > pb : a < b;
    });
    float sum = 0;
    for (int64_t i = 0; i < per_token; ++i) sum += p[static_cast<size_t>(order[static_cast<size_t>(i)])];
    for (int64_t i = 0; i < per_token; ++i) {
      const auto expert = static_cast<size_t>(order[static_cast<size_t>(i)]);
      rows_of[expert].push_back(row);
      weights_of[expert].push_back(renormalise ? p[expert] / sum : p[expert]);
    }
  }
  Routes routes;
  for (size_t expert = 0; expert < rows_of.size(); ++expert) {
    routes.of_expert.push_back(
        {at::tensor(rows_of[expert], at::kLong), at::tensor(weights_of[expert], at::kFloat).unsqueeze(1)});
  }
  return routes;
}

at::Tensor sigmoid(const at::Tensor& x) {
  const at::Tensor in = x.contiguous();
  at::Tensor y = at::empty_like(in);
  const float* from = in.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  for (int64_t i = 0; i < in.numel(); ++i) to[i] = 1.0f / (1.0f + exp_exact(-from[i]));
  return y;
}

}  // namespace evalmpi::ops

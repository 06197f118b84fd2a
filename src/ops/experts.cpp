#include "evalmpi/ops/experts.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "cuda/cuda_ops.h"
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

float sigmoid_of(float x) { return 1.0f / (1.0f + exp_exact(-x)); }

std::vector<float> sigmoids(const float* logits, int64_t count) {
  std::vector<float> p(logits, logits + count);
  std::transform(p.begin(), p.end(), p.begin(), sigmoid_of);
  return p;
}

// The numbers of the `count` largest values, the largest first, the lower number on ties.
std::vector<size_t> largest_of(const std::vector<float>& values, int64_t count) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::partial_sort(order.begin(), order.begin() + count, order.end(),
                    [&](size_t a, size_t b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
  order.resize(static_cast<size_t>(count));
  return order;
}

void leave_out_groups(const RouteRule& rule, std::vector<float>& choice) {
  const size_t size = choice.size() / static_cast<size_t>(rule.groups);
  std::vector<float> group_choice;
  for (size_t begin = 0; begin < choice.size(); begin += size) {
    std::vector<float> members(choice.begin() + static_cast<int64_t>(begin),
                               choice.begin() + static_cast<int64_t>(begin + size));
    float sum = 0;
    for (const size_t best : largest_of(members, rule.group_best)) sum += members[best];
    group_choice.push_back(sum);
  }
  std::vector<float> kept(choice.size(), 0.0f);
  for (const size_t group : largest_of(group_choice, rule.groups_per_token)) {
    for (size_t i = group * size; i < (group + 1) * size; ++i) kept[i] = choice[i];
  }
  choice = std::move(kept);
}

void check_rule(const RouteRule& rule, int64_t experts) {
  EVALMPI_CHECK(rule.per_token >= 1 && rule.per_token <= experts);
  EVALMPI_CHECK(rule.groups >= 1 && experts % rule.groups == 0);
  EVALMPI_CHECK(rule.groups_per_token >= 1 && rule.groups_per_token <= rule.groups);
  EVALMPI_CHECK(rule.group_best >= 1 && rule.group_best <= experts / rule.groups);
  EVALMPI_CHECK(!rule.correction_E.defined() || rule.correction_E.numel() == experts);
}

}  // namespace

Routes route(const at::Tensor& logits_TE, const RouteRule& rule) {
  EVALMPI_CHECK(logits_TE.dim() == 2 && logits_TE.scalar_type() == at::kFloat);
  const int64_t rows = logits_TE.size(0), experts = logits_TE.size(1);
  check_rule(rule, experts);
  if (logits_TE.is_cuda()) return cuda::route(logits_TE, rule);
  const at::Tensor logits = logits_TE.contiguous();
  const float* correction = rule.correction_E.defined() ? rule.correction_E.const_data_ptr<float>() : nullptr;
  std::vector<std::vector<int64_t>> rows_of(static_cast<size_t>(experts));
  std::vector<std::vector<float>> weights_of(static_cast<size_t>(experts));
  for (int64_t row = 0; row < rows; ++row) {
    const float* of_row = logits.const_data_ptr<float>() + row * experts;
    const std::vector<float> scores = rule.is_sigmoid ? sigmoids(of_row, experts) : softmax(of_row, experts);
    std::vector<float> choice = scores;
    for (size_t i = 0; correction != nullptr && i < choice.size(); ++i) choice[i] += correction[i];
    if (rule.groups > rule.groups_per_token) leave_out_groups(rule, choice);
    const std::vector<size_t> chosen = largest_of(choice, rule.per_token);
    float sum = 0;
    for (const size_t expert : chosen) sum += scores[expert];
    for (const size_t expert : chosen) {
      const float weight = rule.renormalise ? scores[expert] / (sum + 1e-20f) : scores[expert];
      rows_of[expert].push_back(row);
      weights_of[expert].push_back(weight * static_cast<float>(rule.scale));
    }
  }
  Routes routes;
  for (size_t expert = 0; expert < rows_of.size(); ++expert) {
    routes.of_expert.push_back(
        {at::tensor(rows_of[expert], at::kLong), at::tensor(weights_of[expert], at::kFloat).unsqueeze(1)});
  }
  return routes;
}

at::Tensor add_rows(at::Tensor sum_TD, const ExpertRows& rows, const at::Tensor& y_RD) {
  if (!sum_TD.is_cuda()) return sum_TD.index_add(0, rows.rows_R, y_RD.mul(rows.weights_R1));
  cuda::add_rows(sum_TD, rows.rows_R, rows.weights_R1, y_RD);
  return sum_TD;
}

at::Tensor sigmoid(const at::Tensor& x) {
  if (x.is_cuda()) return at::sigmoid(x);
  const at::Tensor in = x.contiguous();
  at::Tensor y = at::empty_like(in);
  const float* from = in.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  for (int64_t i = 0; i < in.numel(); ++i) to[i] = sigmoid_of(from[i]);
  return y;
}

}  // namespace evalmpi::ops

#pragma once

// Which experts compute which tokens (arXiv:1701.06538, arXiv:2401.04088).

#include <ATen/core/Tensor.h>

#include <vector>

namespace evalmpi::ops {

struct ExpertRows {
  at::Tensor rows_R;      // int64, ascending
  at::Tensor weights_R1;  // float32
};

struct Routes {
  std::vector<ExpertRows> of_expert;
};

// The `per_token` experts of largest softmax(logits) for each row, the lower number on ties; their weights are these
// probabilities, divided by their sum where `renormalise`. logits_TE: float32 on the CPU. Row-pure.
Routes route(const at::Tensor& logits_TE, int64_t per_token, bool renormalise);

// 1 / (1 + exp(-x)), for few values.
at::Tensor sigmoid(const at::Tensor& x);

}  // namespace evalmpi::ops

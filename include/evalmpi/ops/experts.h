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

// How a token chooses. A score for each expert is softmax(logits), or sigmoid(logits); the `per_token` experts of
// largest choice = score + correction are taken, the lower number on ties; their weights are their scores, divided by
// the sum of these where `renormalise`, times `scale`.
struct RouteRule {
  int64_t per_token = 1;
  bool is_sigmoid = false;
  bool renormalise = false;
  double scale = 1;
  at::Tensor correction_E = {};  // float32; undefined: none (arXiv:2408.15664)
  // Experts come in `groups` of equal size, of which the `groups_per_token` best may be chosen from; the choice of the
  // others' experts is 0. A group is as good as the sum of its `group_best` largest choices (arXiv:2405.04434).
  int64_t groups = 1;
  int64_t groups_per_token = 1;
  int64_t group_best = 1;
};

// logits_TE: float32 on the CPU. Row-pure.
Routes route(const at::Tensor& logits_TE, const RouteRule& rule);

// 1 / (1 + exp(-x)), for few values.
at::Tensor sigmoid(const at::Tensor& x);

}  // namespace evalmpi::ops

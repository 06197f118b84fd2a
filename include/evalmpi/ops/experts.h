#pragma once

// Which experts compute which tokens (arXiv:1701.06538, arXiv:2401.04088).

#include <ATen/core/Tensor.h>

#include <vector>

namespace evalmpi::ops {

// On the logits' device.
struct ExpertRows {
  at::Tensor rows_R;      // int64 (on a device int32), ascending
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

// logits_TE: float32. Row-pure. On a device: a sort by expert without atomics, and one wait, for how many rows each
// expert has.
Routes route(const at::Tensor& logits_TE, const RouteRule& rule);

// sum_TD with y_RD times their weights added to an expert's rows; what comes first is added first. sum_TD float32 is
// given up: on a device the result is the same memory.
at::Tensor add_rows(at::Tensor sum_TD, const ExpertRows& rows, const at::Tensor& y_RD);

// 1 / (1 + exp(-x)), for few values; float32.
at::Tensor sigmoid(const at::Tensor& x);

}  // namespace evalmpi::ops

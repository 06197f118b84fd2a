#include <ATen/ops/empty.h>

#include "cuda_ops.h"
#include "tensors.h"

namespace evalmpi::ops::cuda {

Routes route(const at::Tensor& logits_TE, const RouteRule& rule) {
  EVALMPI_CHECK(rule.per_token <= kMostExpertsPerToken);
  const OnDevice guard(logits_TE.device());
  const at::Tensor logits = ready(logits_TE), correction = ready(rule.correction_E);
  const int64_t rows = logits.size(0), experts = logits.size(1), entries = rows * rule.per_token;
  const at::TensorOptions ints = logits.options().dtype(at::kInt);
  at::Tensor chosen = at::empty({rows, rule.per_token}, ints),
             weights = at::empty({rows, rule.per_token}, logits.options());
  at::Tensor counts = at::empty({experts}, ints);
  at::Tensor sorted_rows = at::empty({entries}, ints), sorted_weights = at::empty({entries, 1}, logits.options());
  const Stream stream = stream_of(logits);
  launch_route({.logits = logits.const_data_ptr<float>(),
                .correction = correction.defined() ? correction.const_data_ptr<float>() : nullptr,
                .rows = rows,
                .experts = static_cast<int32_t>(experts),
                .per_token = static_cast<int32_t>(rule.per_token),
                .groups = static_cast<int32_t>(rule.groups),
                .groups_per_token = static_cast<int32_t>(rule.groups_per_token),
                .group_best = static_cast<int32_t>(rule.group_best),
                .scale = static_cast<float>(rule.scale),
                .is_sigmoid = rule.is_sigmoid,
                .renormalise = rule.renormalise,
                .chosen = chosen.mutable_data_ptr<int32_t>(),
                .weights = weights.mutable_data_ptr<float>()},
               stream);
  launch_count_experts(chosen.const_data_ptr<int32_t>(), entries, experts, counts.mutable_data_ptr<int32_t>(), stream);
  launch_sort_by_expert({.chosen = chosen.const_data_ptr<int32_t>(),
                         .weights = weights.const_data_ptr<float>(),
                         .counts = counts.const_data_ptr<int32_t>(),
                         .entries = entries,
                         .experts = static_cast<int32_t>(experts),
                         .per_token = static_cast<int32_t>(rule.per_token),
                         .rows = sorted_rows.mutable_data_ptr<int32_t>(),
                         .sorted_weights = sorted_weights.mutable_data_ptr<float>()},
                        stream);
  const at::Tensor counts_on_host = counts.cpu();
  Routes routes;
  int64_t begin = 0;
  for (int64_t expert = 0; expert < experts; ++expert) {
    const int64_t count = counts_on_host.const_data_ptr<int32_t>()[expert];
    routes.of_expert.push_back({sorted_rows.narrow(0, begin, count), sorted_weights.narrow(0, begin, count)});
    begin += count;
  }
  EVALMPI_CHECK(begin == entries);
  return routes;
}

void add_rows(at::Tensor& sum_TD, const at::Tensor& rows_R, const at::Tensor& weights_R1, const at::Tensor& y_RD) {
  EVALMPI_CHECK(sum_TD.is_contiguous() && sum_TD.scalar_type() == at::kFloat && sum_TD.size(1) == y_RD.size(1));
  EVALMPI_CHECK(rows_R.is_contiguous() && weights_R1.is_contiguous() && rows_R.numel() == y_RD.size(0) &&
                weights_R1.numel() == y_RD.size(0));
  const OnDevice guard(sum_TD.device());
  const at::Tensor y = ready(y_RD);
  launch_add_rows(sum_TD.mutable_data_ptr<float>(), rows_R.const_data_ptr<int32_t>(),
                  weights_R1.const_data_ptr<float>(), y.const_data_ptr(), data_type(y.scalar_type()), y.size(0),
                  y.size(1), stream_of(y));
}

}  // namespace evalmpi::ops::cuda

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>

#include "cuda_ops.h"
#include "evalmpi/ops/kernels.h"
#include "product.h"
#include "tensors.h"

namespace evalmpi::ops::cuda {
namespace {

// Logits of this many rows and columns are in memory at a time: 32 MiB, which the second cache of an A100 or H100
// holds. The number of rows does not matter to a row; that of columns does, so it is part of the class.
constexpr int64_t kHeadRows = 512;
constexpr int64_t kHeadColumns = 16384;

constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;  // of products that may split their sums

at::Tensor bias_in(const at::Tensor& bias_N, at::ScalarType type) {
  return bias_N.defined() ? ready(bias_N.to(type)) : bias_N;
}

}  // namespace

at::Tensor linear(const at::Tensor& x_TK, const at::Tensor& weight_NK, const at::Tensor& bias_N,
                  const ProductForm& form) {
  const at::ScalarType out = form.out;
  EVALMPI_CHECK(x_TK.dim() == 2 && x_TK.size(1) == weight_NK.size(1) && x_TK.device() == weight_NK.device());
  EVALMPI_CHECK(!bias_N.defined() || bias_N.numel() == weight_NK.size(0));
  EVALMPI_CHECK(out == at::kFloat || out == weight_NK.scalar_type());
  const OnDevice guard(x_TK.device());
  const at::Tensor x = ready(x_TK.to(weight_NK.scalar_type())), weight = ready(weight_NK), bias = bias_in(bias_N, out);
  const int64_t rows = x.size(0), n = weight.size(0), k = weight.size(1);
  if (k == 0) {
    at::Tensor y = at::full({rows, n}, 0.0, x.options().dtype(out));
    return bias.defined() ? y.add(bias) : y;
  }
  at::Tensor y = at::empty({rows, n}, x.options().dtype(out));
  if (y.numel() == 0) return y;
  // Given back to the allocator before the kernel has run: what follows in the stream may have it then.
  const int64_t workspace_bytes = fast_kernels() ? kWorkspaceBytes : 0;
  const at::Tensor workspace = at::empty({workspace_bytes}, x.options().dtype(at::kByte));
  launch_product({.x = x.const_data_ptr(),
                  .weight = weight.const_data_ptr(),
                  .bias = bias.defined() ? bias.const_data_ptr() : nullptr,
                  .y = y.mutable_data_ptr(),
                  .rows = rows,
                  .out_features = n,
                  .in_features = k,
                  .type = data_type(weight.scalar_type()),
                  .y_type = data_type(out),
                  .few_rows = form.few_rows,
                  .workspace = workspace_bytes > 0 ? workspace.mutable_data_ptr() : nullptr,
                  .workspace_bytes = workspace_bytes},
                 stream_of(x));
  return y;
}

at::Tensor launch_head(const at::Tensor& hidden_RD, const at::Tensor& weight_VD, const LogitRule& rule,
                       const at::Tensor& row_of_target_M, const at::Tensor& column_of_target_M) {
  const OnDevice guard(hidden_RD.device());
  const at::Tensor hidden = ready(hidden_RD.to(weight_VD.scalar_type()));
  const int64_t rows = hidden.size(0), vocabulary = weight_VD.size(0);
  const int64_t targets = row_of_target_M.defined() ? row_of_target_M.numel() : 0;
  const Stream stream = stream_of(hidden);
  at::Tensor result = at::empty({3 * rows + targets}, hidden.options().dtype(at::kInt));
  auto* summaries = reinterpret_cast<RunningSummary*>(result.mutable_data_ptr<int32_t>());
  auto* target_logits = reinterpret_cast<float*>(result.mutable_data_ptr<int32_t>() + 3 * rows);
  // The empty tile of an empty shard still begins the summaries.
  for (int64_t row = 0; row < rows; row += kHeadRows) {
    const int64_t tile_rows = std::min(kHeadRows, rows - row);
    const at::Tensor some_rows = hidden.narrow(0, row, tile_rows);
    for (int64_t column = 0; column == 0 || column < vocabulary; column += kHeadColumns) {
      const int64_t width = std::min(kHeadColumns, vocabulary - column);
      const at::Tensor bias = rule.bias_V.defined() ? rule.bias_V.narrow(0, column, width) : rule.bias_V;
      const at::Tensor logits = linear(some_rows, weight_VD.narrow(0, column, width), bias, {});
      const LogitTile tile = {.logits = logits.const_data_ptr<float>(),
                              .rows = tile_rows,
                              .width = width,
                              .first_row = static_cast<int32_t>(row),
                              .column = static_cast<int32_t>(column),
                              .scale = static_cast<float>(rule.scale),
                              .soft_cap = static_cast<float>(rule.soft_cap)};
      launch_summarise(tile, summaries, stream);
      if (targets > 0) {
        launch_pick(tile, row_of_target_M.const_data_ptr<int32_t>(), column_of_target_M.const_data_ptr<int32_t>(),
                    targets, target_logits, stream);
      }
    }
  }
  return result;
}

}  // namespace evalmpi::ops::cuda

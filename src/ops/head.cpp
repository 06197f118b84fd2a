#include "evalmpi/ops/head.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>

#include "cpu/parallel.h"
#include "cpu/select.h"
#include "cuda/cuda_ops.h"
#include "evalmpi/base/error.h"
#include "evalmpi/ops/elementwise.h"
#include "evalmpi/ops/host_numbers.h"
#include "packed_linear.h"

namespace evalmpi::ops {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Rows whose logits of one vocabulary block are in memory at a time.
constexpr int64_t kHeadRows = 168;

struct HeadTask {
  const float* hidden;
  int64_t rows;
  const PackedLinear::Storage& weight;
  const float* bias;
  const LogitRule& rule;
  int64_t first_id;
  std::span<const int32_t> row_of_target, token_of_target;
};

int64_t head_blocks(const HeadTask& task) { return (task.weight.out_features + kHeadBlock - 1) / kHeadBlock; }

// Picks the logits of the targets at rows [row, row + rows) that fall into columns [column, column + width).
void pick_targets(const HeadTask& task, const float* logits, int64_t row, int64_t rows, int64_t column, int64_t width,
                  float* target_logit_M) {
  const auto begin = std::lower_bound(task.row_of_target.begin(), task.row_of_target.end(), row);
  for (size_t m = begin - task.row_of_target.begin(); m < task.row_of_target.size(); ++m) {
    if (task.row_of_target[m] >= row + rows) break;
    const int64_t at = task.token_of_target[m] - task.first_id - column;
    if (at >= 0 && at < width) target_logit_M[m] = logits[(task.row_of_target[m] - row) * width + at];
  }
}

void apply_rule(const LogitRule& rule, float* logits, int64_t count) {
  if (rule.scale == 1 && rule.soft_cap == 0) return;
  cpu_kernels().scale_and_cap(logits, static_cast<float>(rule.scale), static_cast<float>(rule.soft_cap), count, logits);
}

// Summaries of all rows for vocabulary blocks [block_begin, block_end): summary_RB[row * blocks + block].
void summarise_blocks(const HeadTask& task, int64_t block_begin, int64_t block_end, RowSummary* summary_RB,
                      float* target_logit_M) {
  const CpuKernels& kernels = cpu_kernels();
  const int64_t blocks = head_blocks(task), vocabulary = task.weight.out_features;
  float* logits = thread_scratch(kHeadRows * kHeadBlock + gemm_scratch_floats(kHeadRows, task.weight.in_features));
  float* gemm_scratch = logits + kHeadRows * kHeadBlock;
  for (int64_t block = block_begin; block < block_end; ++block) {
    const int64_t column = block * kHeadBlock, width = std::min(kHeadBlock, vocabulary - column);
    for (int64_t row = 0; row < task.rows; row += kHeadRows) {
      const int64_t rows = std::min(kHeadRows, task.rows - row);
      multiply_panels(task.hidden + row * task.weight.in_features, rows, task.weight, task.bias, column / kPanel,
                      panels_for(column + width), logits, width, gemm_scratch);
      apply_rule(task.rule, logits, rows * width);
      for (int64_t r = 0; r < rows; ++r)
        kernels.summarise(logits + r * width, width, &summary_RB[(row + r) * blocks + block]);
      pick_targets(task, logits, row, rows, column, width, target_logit_M);
    }
  }
}

float rescaled(float sum, float from, float to) { return from == to ? sum : sum * exp_exact(from - to); }

// Combines the blocks of one row in ascending order.
RowSummary combine(std::span<const RowSummary> blocks) {
  RowSummary all = {.max = -kInfinity, .sum = 0.0f, .argmax = -1};
  for (size_t b = 0; b < blocks.size(); ++b) {
    const RowSummary& block = blocks[b];
    if (all.argmax < 0 || block.max > all.max)
      all.argmax = block.argmax + static_cast<int32_t>(b) * static_cast<int32_t>(kHeadBlock);
    const bool broken = block.max != block.max || all.max != all.max;
    const float top = broken ? std::numeric_limits<float>::quiet_NaN() : std::max(all.max, block.max);
    all.sum = rescaled(all.sum, all.max, top) + rescaled(block.sum, block.max, top);
    all.max = top;
  }
  return all;
}

}  // namespace

namespace {

at::Tensor numbers(std::span<const int32_t> values, int32_t less, at::Device device) {
  at::Tensor host = at::empty({static_cast<int64_t>(values.size())}, at::kInt);
  std::transform(values.begin(), values.end(), host.mutable_data_ptr<int32_t>(),
                 [less](int32_t value) { return value - less; });
  return to_device(host, device);
}

BegunHead begin_on_device(const at::Tensor& hidden_RD, const PackedLinear::Storage& weight, const LogitRule& rule,
                          int64_t first_id, std::span<const int32_t> row_of_target,
                          std::span<const int32_t> token_of_target) {
  BegunHead begun = {.on_host = {},
                     .on_device = {},
                     .rows = hidden_RD.size(0),
                     .targets = static_cast<int64_t>(row_of_target.size()),
                     .first_id = first_id};
  at::Tensor rows, columns;
  if (begun.targets > 0) {
    rows = numbers(row_of_target, 0, hidden_RD.device());
    columns = numbers(token_of_target, static_cast<int32_t>(first_id), hidden_RD.device());
  }
  begun.on_device = cuda::launch_head(hidden_RD, weight.rows_NK, rule, rows, columns);
  return begun;
}

HeadPartial on_host(const HeadTask& task) {
  const int64_t blocks = head_blocks(task);
  HeadPartial result;
  result.target_logit_M.assign(task.row_of_target.size(), -kInfinity);
  std::vector<RowSummary> summary_RB(task.rows * blocks);
  in_parallel(blocks, 1, [&](int64_t begin, int64_t end) {
    summarise_blocks(task, begin, end, summary_RB.data(), result.target_logit_M.data());
  });
  for (int64_t row = 0; row < task.rows; ++row) {
    const RowSummary all = combine(std::span(summary_RB).subspan(row * blocks, blocks));
    result.max_R.push_back(all.max);
    result.sum_R.push_back(all.sum);
    result.argmax_R.push_back(all.argmax < 0 ? -1 : static_cast<int32_t>(all.argmax + task.first_id));
  }
  return result;
}

}  // namespace

BegunHead begin_head(const at::Tensor& hidden_RD, const PackedLinear& weight_VD, const LogitRule& rule,
                     int64_t first_id, std::span<const int32_t> row_of_target,
                     std::span<const int32_t> token_of_target) {
  const PackedLinear::Storage& weight = weight_VD.storage();
  EVALMPI_CHECK(hidden_RD.dim() == 2 && hidden_RD.size(1) == weight.in_features);
  const at::Tensor& bias_V = rule.bias_V;
  EVALMPI_CHECK(!bias_V.defined() || (bias_V.scalar_type() == at::kFloat && bias_V.numel() == weight.out_features));
  EVALMPI_CHECK(row_of_target.size() == token_of_target.size());
  EVALMPI_CHECK(std::is_sorted(row_of_target.begin(), row_of_target.end()));
  EVALMPI_CHECK(row_of_target.empty() || (row_of_target.front() >= 0 && row_of_target.back() < hidden_RD.size(0)));
  if (weight.rows_NK.defined())
    return begin_on_device(hidden_RD, weight, rule, first_id, row_of_target, token_of_target);
  EVALMPI_CHECK(hidden_RD.scalar_type() == at::kFloat && hidden_RD.device().is_cpu());
  const at::Tensor hidden = hidden_RD.contiguous();
  const at::Tensor bias = bias_V.defined() ? bias_V.contiguous() : bias_V;
  const HeadTask task = {.hidden = hidden.const_data_ptr<float>(),
                         .rows = hidden.size(0),
                         .weight = weight,
                         .bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                         .rule = rule,
                         .first_id = first_id,
                         .row_of_target = row_of_target,
                         .token_of_target = token_of_target};
  return {.on_host = on_host(task),
          .on_device = {},
          .rows = task.rows,
          .targets = static_cast<int64_t>(row_of_target.size()),
          .first_id = first_id};
}

HeadPartial finish_head(const BegunHead& begun) {
  if (!begun.on_device.defined()) return begun.on_host;
  const at::Tensor host = begun.on_device.cpu();
  const int32_t* values = host.const_data_ptr<int32_t>();
  EVALMPI_CHECK(host.numel() == 3 * begun.rows + begun.targets);
  const auto number = [](int32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  };
  HeadPartial result;
  for (int64_t row = 0; row < begun.rows; ++row, values += 3) {
    result.max_R.push_back(number(values[0]));
    result.sum_R.push_back(number(values[1]));
    result.argmax_R.push_back(values[2] < 0 ? -1 : static_cast<int32_t>(values[2] + begun.first_id));
  }
  std::transform(values, values + begun.targets, std::back_inserter(result.target_logit_M), number);
  return result;
}

HeadPartial head(const at::Tensor& hidden_RD, const PackedLinear& weight_VD, const LogitRule& rule, int64_t first_id,
                 std::span<const int32_t> row_of_target, std::span<const int32_t> token_of_target) {
  return finish_head(begin_head(hidden_RD, weight_VD, rule, first_id, row_of_target, token_of_target));
}

at::Tensor logits(const at::Tensor& hidden_RD, const PackedLinear& weight_VD, const LogitRule& rule) {
  at::Tensor logits_RV = linear(hidden_RD, weight_VD, rule.bias_V);
  if (logits_RV.is_cuda()) {
    const bool is_plain = rule.scale == 1 && rule.soft_cap == 0;
    return is_plain ? logits_RV : scale_and_cap(logits_RV, rule.scale, rule.soft_cap);
  }
  apply_rule(rule, logits_RV.mutable_data_ptr<float>(), logits_RV.numel());
  return logits_RV;
}

const char* cuda_kernel_class() { return cuda::kernel_class(); }

float exp_exact(float x) {
  float y;
  cpu_kernels().exp(&x, 1, &y);
  return y;
}

// In float64 by log(m) = 2 artanh((m - 1) / (m + 1)) with x = m 2^e, m in [sqrt(1/2), sqrt(2)): the error before the
// one rounding to float32 is below 1e-13.
float log_exact(float x) {
  if (x != x || x < 0.0f) return std::numeric_limits<float>::quiet_NaN();
  if (x == 0.0f) return -kInfinity;
  if (x == kInfinity) return x;
  int exponent = 0;
  double m = x;
  for (; m >= 1.4142135623730951; m *= 0.5) ++exponent;
  for (; m < 0.7071067811865476; m *= 2.0) --exponent;
  const double s = (m - 1.0) / (m + 1.0), square = s * s;
  double series = 0.0;
  for (int term = 19; term >= 1; term -= 2) series = series * square + 1.0 / term;
  return static_cast<float>(2.0 * s * series + exponent * 0.6931471805599453);
}

}  // namespace evalmpi::ops

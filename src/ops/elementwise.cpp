#include "evalmpi/ops/elementwise.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "cpu/select.h"
#include "cpu/parallel.h"
#include "evalmpi/base/error.h"

namespace evalmpi::ops {
namespace {

// Elements below which a second thread costs more than it helps.
constexpr int64_t kWorthAThread = 1 << 14;

// Whether the own kernels compute this: float32 on the CPU, and no gradient wanted of any of them.
bool own_kernel(std::initializer_list<at::Tensor> tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const at::Tensor& x) {
    return !x.defined() ||
           (x.device().is_cpu() && x.scalar_type() == at::kFloat && !(at::GradMode::is_enabled() && x.requires_grad()));
  });
}

const float* data_or_null(const at::Tensor& x) { return x.defined() ? x.const_data_ptr<float>() : nullptr; }

// A new tensor like x from kernel(in, out, rows) on ranges of its rows.
template <class Kernel>
at::Tensor map_rows(const at::Tensor& x_TD, Kernel kernel) {
  const at::Tensor x = x_TD.contiguous();
  at::Tensor y = at::empty_like(x);
  if (x.numel() == 0) return y;
  const int64_t rows = x.size(0), width = x.numel() / rows;
  const float* in = x.const_data_ptr<float>();
  float* out = y.mutable_data_ptr<float>();
  in_parallel(rows, 1 + kWorthAThread / width,
              [&](int64_t begin, int64_t end) { kernel(in + begin * width, out + begin * width, end - begin, begin); });
  return y;
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps) {
  if (!own_kernel({x_TD, weight_D})) {
    const at::Tensor x = x_TD.to(at::kFloat);
    return weight_D * (x * at::rsqrt(x.mul(x).mean(-1, true) + eps)).to(x_TD.scalar_type());
  }
  const int64_t width = x_TD.size(-1);
  EVALMPI_CHECK(x_TD.dim() == 2 && weight_D.numel() == width);
  const at::Tensor weight = weight_D.contiguous();
  return map_rows(x_TD, [&](const float* x, float* y, int64_t rows, int64_t) {
    cpu_kernels().rms_norm(x, weight.const_data_ptr<float>(), static_cast<float>(eps), rows, width, y);
  });
}

at::Tensor layer_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, const at::Tensor& bias_D, double eps) {
  if (!own_kernel({x_TD, weight_D, bias_D})) {
    std::optional<at::Tensor> bias;
    if (bias_D.defined()) bias = bias_D;
    return at::layer_norm(x_TD, {x_TD.size(-1)}, weight_D, bias, eps);
  }
  const int64_t width = x_TD.size(-1);
  EVALMPI_CHECK(x_TD.dim() == 2 && weight_D.numel() == width && (!bias_D.defined() || bias_D.numel() == width));
  const at::Tensor weight = weight_D.contiguous(), bias = bias_D.defined() ? bias_D.contiguous() : bias_D;
  return map_rows(x_TD, [&](const float* x, float* y, int64_t rows, int64_t) {
    cpu_kernels().layer_norm(x, weight.const_data_ptr<float>(), data_or_null(bias), static_cast<float>(eps), rows,
                             width, y);
  });
}

at::Tensor rotary(const at::Tensor& x_TNH, const at::Tensor& positions_T, const at::Tensor& cos_PR,
                  const at::Tensor& sin_PR) {
  const int64_t half = cos_PR.size(1), head_dim = x_TNH.size(2), heads = x_TNH.size(1);
  EVALMPI_CHECK(x_TNH.dim() == 3 && 2 * half <= head_dim && positions_T.numel() == x_TNH.size(0));
  EVALMPI_CHECK(sin_PR.sizes() == cos_PR.sizes());
  if (!own_kernel({x_TNH, cos_PR, sin_PR})) {
    const at::Tensor c = at::index_select(cos_PR, 0, positions_T).unsqueeze(1);
    const at::Tensor s = at::index_select(sin_PR, 0, positions_T).unsqueeze(1);
    const at::Tensor first = x_TNH.narrow(2, 0, half), second = x_TNH.narrow(2, half, half);
    const at::Tensor rest = x_TNH.narrow(2, 2 * half, head_dim - 2 * half);
    return at::cat(std::vector<at::Tensor>{first * c - second * s, second * c + first * s, rest}, 2);
  }
  EVALMPI_CHECK(positions_T.scalar_type() == at::kInt && positions_T.device().is_cpu());
  const at::Tensor positions = positions_T.contiguous(), cos = cos_PR.contiguous(), sin = sin_PR.contiguous();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  EVALMPI_CHECK(
      std::all_of(position, position + positions.numel(), [&](int32_t p) { return p >= 0 && p < cos.size(0); }));
  const int64_t width = heads * head_dim;
  return map_rows(x_TNH, [&](const float* x, float* y, int64_t rows, int64_t row) {
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = position[row + i] * half;
      cpu_kernels().rotary(x + i * width, cos.const_data_ptr<float>() + at, sin.const_data_ptr<float>() + at, heads,
                           head_dim, half, y + i * width);
    }
  });
}

at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF) {
  if (!own_kernel({gate_TF, up_TF})) return at::silu(gate_TF) * up_TF;
  EVALMPI_CHECK(gate_TF.dim() == 2 && gate_TF.sizes() == up_TF.sizes());
  const int64_t width = gate_TF.size(1);
  const at::Tensor up = up_TF.contiguous();
  return map_rows(gate_TF, [&](const float* gate, float* y, int64_t rows, int64_t row) {
    cpu_kernels().silu_mul(gate, up.const_data_ptr<float>() + row * width, rows * width, y);
  });
}

at::Tensor gelu(const at::Tensor& x_TF, Gelu kind) {
  if (!own_kernel({x_TF})) return at::gelu(x_TF, kind == Gelu::kErf ? "none" : "tanh");
  EVALMPI_CHECK(x_TF.dim() == 2);
  const int64_t width = x_TF.size(1);
  const auto kernel = kind == Gelu::kErf ? cpu_kernels().gelu_erf : cpu_kernels().gelu_tanh;
  return map_rows(x_TF, [&](const float* x, float* y, int64_t rows, int64_t) { kernel(x, rows * width, y); });
}

at::Tensor embedding(const at::Tensor& weight_VD, const at::Tensor& ids_T, int64_t first_id) {
  const int64_t vocabulary = weight_VD.size(0);
  if (vocabulary == 0) return at::zeros({ids_T.size(0), weight_VD.size(1)}, weight_VD.options().dtype(at::kFloat));
  const at::Tensor local = ids_T - first_id;
  const at::Tensor here = (local >= 0) & (local < vocabulary);
  const at::Tensor rows = at::embedding(weight_VD, local.clamp(0, vocabulary - 1)).to(at::kFloat);
  return at::where(here.unsqueeze(1), rows, at::zeros({}, rows.options()));
}

}  // namespace evalmpi::ops

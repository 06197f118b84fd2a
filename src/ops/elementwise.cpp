#include "evalmpi/ops/elementwise.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "cpu/parallel.h"
#include "cpu/select.h"
#include "cuda/cuda_ops.h"
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

// Whether the CUDA kernels compute this.
bool cuda_kernel(std::initializer_list<at::Tensor> tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const at::Tensor& x) {
    return !x.defined() || (x.is_cuda() && !(at::GradMode::is_enabled() && x.requires_grad()));
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

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps, at::ScalarType out) {
  if (cuda_kernel({x_TD, weight_D})) return cuda::normalise(x_TD, weight_D, {.eps = eps}, out);
  if (!own_kernel({x_TD, weight_D})) {
    const at::Tensor x = x_TD.to(at::kFloat);
    return (weight_D * (x * at::rsqrt(x.mul(x).mean(-1, true) + eps)).to(x_TD.scalar_type())).to(out);
  }
  EVALMPI_CHECK(out == at::kFloat);
  const int64_t width = x_TD.size(-1);
  EVALMPI_CHECK(x_TD.dim() == 2 && weight_D.numel() == width);
  const at::Tensor weight = weight_D.contiguous();
  return map_rows(x_TD, [&](const float* x, float* y, int64_t rows, int64_t) {
    cpu_kernels().rms_norm(x, weight.const_data_ptr<float>(), static_cast<float>(eps), rows, width, y);
  });
}

at::Tensor layer_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, const at::Tensor& bias_D, double eps,
                      at::ScalarType out) {
  if (cuda_kernel({x_TD, weight_D, bias_D}))
    return cuda::normalise(x_TD, weight_D, {.bias_D = bias_D, .eps = eps, .is_centred = true}, out);
  if (!own_kernel({x_TD, weight_D, bias_D})) {
    std::optional<at::Tensor> bias;
    if (bias_D.defined()) bias = bias_D;
    return at::layer_norm(x_TD, {x_TD.size(-1)}, weight_D, bias, eps).to(out);
  }
  EVALMPI_CHECK(out == at::kFloat);
  const int64_t width = x_TD.size(-1);
  EVALMPI_CHECK(x_TD.dim() == 2 && weight_D.numel() == width && (!bias_D.defined() || bias_D.numel() == width));
  const at::Tensor weight = weight_D.contiguous(), bias = bias_D.defined() ? bias_D.contiguous() : bias_D;
  return map_rows(x_TD, [&](const float* x, float* y, int64_t rows, int64_t) {
    cpu_kernels().layer_norm(x, weight.const_data_ptr<float>(), data_or_null(bias), static_cast<float>(eps), rows,
                             width, y);
  });
}

at::Tensor layer_norm_of_heads(const at::Tensor& x_RH, const at::Tensor& weight_NH, double eps, at::ScalarType out) {
  if (cuda_kernel({x_RH, weight_NH})) return cuda::normalise(x_RH, weight_NH, {.eps = eps, .is_centred = true}, out);
  // Normalised without a weight, then each head with its own.
  const int64_t width = x_RH.size(1);
  const at::Tensor plain = layer_norm(x_RH, at::ones({width}, x_RH.options()), at::Tensor(), eps, out);
  return plain.view({-1, weight_NH.size(0), width}).mul(weight_NH).view(x_RH.sizes());
}

namespace {

// Halves of what is rotated, as [T, N, R] each.
struct Halves {
  at::Tensor a, b;
};

Halves halves_of(const at::Tensor& x_TNH, int64_t first, int64_t half, bool is_interleaved) {
  const at::Tensor part = x_TNH.narrow(2, first, 2 * half);
  if (!is_interleaved) return {part.narrow(2, 0, half), part.narrow(2, half, half)};
  const at::Tensor pairs = part.unflatten(2, {half, 2});
  return {pairs.select(3, 0), pairs.select(3, 1)};
}

at::Tensor rotary_by_aten(const at::Tensor& x_TNH, const at::Tensor& positions_T, const RotaryTable& table) {
  const int64_t half = table.cos_PR.size(1), end = table.first + 2 * half;
  const at::Tensor c = at::index_select(table.cos_PR, 0, positions_T).unsqueeze(1);
  const at::Tensor s = at::index_select(table.sin_PR, 0, positions_T).unsqueeze(1);
  const auto [a, b] = halves_of(x_TNH, table.first, half, table.is_interleaved);
  const at::Tensor low = a * c - b * s, high = b * c + a * s;
  const at::Tensor turned =
      table.is_interleaved ? at::stack({low, high}, 3).flatten(2) : at::cat(std::vector<at::Tensor>{low, high}, 2);
  return at::cat(
      std::vector<at::Tensor>{x_TNH.narrow(2, 0, table.first), turned, x_TNH.narrow(2, end, x_TNH.size(2) - end)}, 2);
}

at::Tensor activate_by_aten(Activation kind, const at::Tensor& x) {
  switch (kind) {
    case Activation::kSilu: return at::silu(x);
    case Activation::kGeluErf: return at::gelu(x, "none");
    case Activation::kGeluTanh: return at::gelu(x, "tanh");
    case Activation::kRelu: return at::relu(x);
    case Activation::kQuickGelu: return x * at::sigmoid(x * 1.702);
  }
  fail(ExitCode::kInternal, "no such activation");
}

}  // namespace

at::Tensor square_sums(const at::Tensor& x_TD) {
  if (cuda_kernel({x_TD})) return cuda::square_sums(x_TD);
  if (!own_kernel({x_TD})) return x_TD.to(at::kFloat).square().sum(-1, true);
  EVALMPI_CHECK(x_TD.dim() == 2);
  const at::Tensor x = x_TD.contiguous();
  at::Tensor sums_T1 = at::empty({x.size(0), 1}, x.options());
  cpu_kernels().square_sums(x.const_data_ptr<float>(), x.size(0), x.size(1), sums_T1.mutable_data_ptr<float>());
  return sums_T1;
}

at::Tensor rms_norm_of(const at::Tensor& x_TD, const at::Tensor& squares_T1, int64_t of_width,
                       const at::Tensor& weight_D, double eps, at::ScalarType out) {
  if (cuda_kernel({x_TD, squares_T1, weight_D}))
    return cuda::normalise(x_TD, weight_D, {.squares_T1 = squares_T1, .of_width = of_width, .eps = eps}, out);
  if (!own_kernel({x_TD, squares_T1, weight_D})) {
    const at::Tensor factor = at::rsqrt(squares_T1 / static_cast<double>(of_width) + eps);
    return (weight_D * (x_TD.to(at::kFloat) * factor).to(x_TD.scalar_type())).to(out);
  }
  EVALMPI_CHECK(out == at::kFloat);
  const int64_t width = x_TD.size(-1);
  EVALMPI_CHECK(x_TD.dim() == 2 && weight_D.numel() == width && squares_T1.numel() == x_TD.size(0));
  const at::Tensor weight = weight_D.contiguous(), squares = squares_T1.contiguous();
  return map_rows(x_TD, [&](const float* x, float* y, int64_t rows, int64_t row) {
    cpu_kernels().scale_by_squares(x, squares.const_data_ptr<float>() + row, of_width, weight.const_data_ptr<float>(),
                                   static_cast<float>(eps), rows, width, y);
  });
}

at::Tensor rotary(const at::Tensor& x_TNH, const at::Tensor& positions_T, const RotaryTable& table) {
  const int64_t half = table.cos_PR.size(1), head_dim = x_TNH.size(2), heads = x_TNH.size(1);
  EVALMPI_CHECK(x_TNH.dim() == 3 && table.first >= 0 && table.first + 2 * half <= head_dim);
  EVALMPI_CHECK(positions_T.numel() == x_TNH.size(0) && table.sin_PR.sizes() == table.cos_PR.sizes());
  if (cuda_kernel({x_TNH, table.cos_PR, table.sin_PR})) return cuda::rotary(x_TNH, positions_T, table);
  if (!own_kernel({x_TNH, table.cos_PR, table.sin_PR})) return rotary_by_aten(x_TNH, positions_T, table);
  EVALMPI_CHECK(positions_T.scalar_type() == at::kInt && positions_T.device().is_cpu());
  const at::Tensor positions = positions_T.contiguous(), cos = table.cos_PR.contiguous(),
                   sin = table.sin_PR.contiguous();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  EVALMPI_CHECK(
      std::all_of(position, position + positions.numel(), [&](int32_t p) { return p >= 0 && p < cos.size(0); }));
  const auto kernel = table.is_interleaved ? cpu_kernels().rotary_interleaved : cpu_kernels().rotary;
  const int64_t width = heads * head_dim;
  return map_rows(x_TNH, [&](const float* x, float* y, int64_t rows, int64_t row) {
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = position[row + i] * half;
      kernel(x + i * width, cos.const_data_ptr<float>() + at, sin.const_data_ptr<float>() + at, heads, head_dim,
             table.first, half, y + i * width);
    }
  });
}

at::Tensor activate(Activation kind, const at::Tensor& x_TF) {
  if (cuda_kernel({x_TF})) return cuda::activate(kind, x_TF);
  if (!own_kernel({x_TF})) return activate_by_aten(kind, x_TF);
  EVALMPI_CHECK(x_TF.dim() == 2);
  const int64_t width = x_TF.size(1);
  return map_rows(
      x_TF, [&](const float* x, float* y, int64_t rows, int64_t) { cpu_kernels().activate(kind, x, rows * width, y); });
}

at::Tensor activate_mul(Activation kind, const at::Tensor& gate_TF, const at::Tensor& up_TF) {
  if (cuda_kernel({gate_TF, up_TF})) return cuda::activate_mul(kind, gate_TF, up_TF);
  if (!own_kernel({gate_TF, up_TF})) return activate_by_aten(kind, gate_TF) * up_TF;
  EVALMPI_CHECK(gate_TF.dim() == 2 && gate_TF.sizes() == up_TF.sizes());
  const int64_t width = gate_TF.size(1);
  const at::Tensor up = up_TF.contiguous();
  return map_rows(gate_TF, [&](const float* gate, float* y, int64_t rows, int64_t row) {
    cpu_kernels().activate_mul(kind, gate, up.const_data_ptr<float>() + row * width, rows * width, y);
  });
}

at::Tensor scale_and_cap(const at::Tensor& x_TV, double scale, double cap) {
  if (cuda_kernel({x_TV})) return cuda::scale_and_cap(x_TV, scale, cap);
  if (!own_kernel({x_TV})) return cap == 0 ? x_TV * scale : at::tanh(x_TV * scale / cap) * cap;
  EVALMPI_CHECK(x_TV.dim() == 2);
  const int64_t width = x_TV.size(1);
  return map_rows(x_TV, [&](const float* x, float* y, int64_t rows, int64_t) {
    cpu_kernels().scale_and_cap(x, static_cast<float>(scale), static_cast<float>(cap), rows * width, y);
  });
}

at::Tensor embedding(const at::Tensor& weight_VD, const at::Tensor& ids_T, int64_t first_id) {
  if (cuda_kernel({weight_VD})) return cuda::embedding(weight_VD, ids_T, first_id);
  const int64_t vocabulary = weight_VD.size(0);
  if (vocabulary == 0) return at::zeros({ids_T.size(0), weight_VD.size(1)}, weight_VD.options().dtype(at::kFloat));
  const at::Tensor local = ids_T - first_id;
  const at::Tensor here = (local >= 0) & (local < vocabulary);
  const at::Tensor rows = at::embedding(weight_VD, local.clamp(0, vocabulary - 1)).to(at::kFloat);
  return at::where(here.unsqueeze(1), rows, at::zeros({}, rows.options()));
}

}  // namespace evalmpi::ops

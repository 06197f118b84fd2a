#include "evalmpi/ops/linear.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <optional>

#include "cpu/parallel.h"
#include "cpu/select.h"
#include "cuda/cuda_ops.h"
#include "evalmpi/base/error.h"
#include "packed_linear.h"

namespace evalmpi::ops {
namespace {

// Multiply-adds below which a second thread costs more than it helps.
constexpr int64_t kWorthAThread = 1 << 16;

WeightType weight_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return WeightType::kFloat32;
    case at::kBFloat16: return WeightType::kBFloat16;
    case at::kHalf: return WeightType::kFloat16;
    default: fail(ExitCode::kInternal, "Weights of type {} cannot be packed.", c10::toString(type));
  }
}

// weight [N][K] -> panels [P][K][16], in squares of 16 x 16: a cache line of a row is read once and used up.
template <class T>
void pack_panels(const T* weight, int64_t n, int64_t k, int64_t panel_begin, int64_t panel_end, T* panels) {
  for (int64_t p = panel_begin; p < panel_end; ++p) {
    const int64_t columns = std::min(kPanel, n - p * kPanel);
    const T* rows = weight + p * kPanel * k;
    T* panel = panels + p * k * kPanel;
    for (int64_t begin = 0; begin < k; begin += kPanel) {
      const int64_t end = std::min(begin + kPanel, k);
      for (int64_t c = 0; c < columns; ++c)
        for (int64_t i = begin; i < end; ++i) panel[i * kPanel + c] = rows[c * k + i];
      for (int64_t i = begin; i < end; ++i) std::fill(panel + i * kPanel + columns, panel + (i + 1) * kPanel, T{0});
    }
  }
}

template <class T>
void pack_into(const at::Tensor& weight_NK, at::Tensor& panels_PK16) {
  const int64_t n = weight_NK.size(0), k = weight_NK.size(1);
  const T* weight = static_cast<const T*>(weight_NK.const_data_ptr());
  T* panels = static_cast<T*>(panels_PK16.mutable_data_ptr());
  in_parallel(panels_PK16.size(0), 1,
              [=](int64_t begin, int64_t end) { pack_panels(weight, n, k, begin, end, panels); });
}

// Memory for panels. Large ones ask for huge pages: a decoding step streams them from memory once, and with small
// pages address translation takes a third of its time.
at::Tensor empty_panels(at::IntArrayRef shape, at::ScalarType type) {
  constexpr size_t kHugePageBytes = size_t{2} << 20;
  const size_t bytes = c10::multiply_integers(shape) * c10::elementSize(type);
  if (bytes < 4 * kHugePageBytes) return at::empty(shape, type);
  const size_t rounded_bytes = (bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  void* memory = ::operator new(rounded_bytes, std::align_val_t(kHugePageBytes));
  madvise(memory, rounded_bytes, MADV_HUGEPAGE);
  return at::from_blob(
      memory, shape, [](void* p) { ::operator delete(p, std::align_val_t(kHugePageBytes)); }, type);
}

}  // namespace

PackedLinear PackedLinear::pack(const at::Tensor& weight_NK) {
  EVALMPI_CHECK(weight_NK.dim() == 2 && (weight_NK.device().is_cpu() || weight_NK.is_cuda()));
  const WeightType type = weight_type(weight_NK.scalar_type());
  const int64_t n = weight_NK.size(0), k = weight_NK.size(1), panels = panels_for(n);
  if (weight_NK.is_cuda()) {
    PackedLinear on_device;
    on_device.storage_ = std::make_shared<const Storage>(Storage{
        .panels_PK16 = {}, .rows_NK = weight_NK.contiguous(), .type = type, .out_features = n, .in_features = k});
    return on_device;
  }
  at::Tensor packed = empty_panels({panels, k, kPanel}, weight_NK.scalar_type());
  const at::Tensor rows = weight_NK.contiguous();
  if (type == WeightType::kFloat32) {
    pack_into<float>(rows, packed);
  } else {
    pack_into<uint16_t>(rows, packed);
  }
  PackedLinear result;
  result.storage_ = std::make_shared<const Storage>(
      Storage{.panels_PK16 = packed, .rows_NK = {}, .type = type, .out_features = n, .in_features = k});
  return result;
}

int64_t PackedLinear::out_features() const { return storage_->out_features; }

int64_t PackedLinear::in_features() const { return storage_->in_features; }

int64_t PackedLinear::bytes() const {
  return static_cast<int64_t>((storage_->rows_NK.defined() ? storage_->rows_NK : storage_->panels_PK16).nbytes());
}

void multiply_panels(const float* x, int64_t rows, const PackedLinear::Storage& weight, const float* bias,
                     int64_t panel_begin, int64_t panel_end, float* y, int64_t y_step, float* scratch) {
  cpu_kernels().gemm({.x = x,
                      .rows = rows,
                      .depth = weight.in_features,
                      .panels = weight.panels_PK16.const_data_ptr(),
                      .type = weight.type,
                      .panel_begin = panel_begin,
                      .panel_end = panel_end,
                      .columns = weight.out_features,
                      .bias = bias,
                      .y = y,
                      .y_step = y_step,
                      .scratch = scratch});
}

at::Tensor linear(const at::Tensor& x_TK, const PackedLinear& weight_NK, const at::Tensor& bias_N,
                  const ProductForm& form) {
  const PackedLinear::Storage& weight = weight_NK.storage();
  if (weight.rows_NK.defined()) return cuda::linear(x_TK, weight.rows_NK, bias_N, form);
  EVALMPI_CHECK(form.out == at::kFloat);
  EVALMPI_CHECK(x_TK.dim() == 2 && x_TK.scalar_type() == at::kFloat && x_TK.device().is_cpu());
  EVALMPI_CHECK(x_TK.size(1) == weight.in_features);
  EVALMPI_CHECK(!bias_N.defined() || (bias_N.scalar_type() == at::kFloat && bias_N.numel() == weight.out_features));
  const at::Tensor x = x_TK.contiguous();
  const at::Tensor bias = bias_N.defined() ? bias_N.contiguous() : bias_N;
  const int64_t rows = x.size(0), n = weight.out_features;
  at::Tensor y_TN = at::empty({rows, n}, x.options().requires_grad(false));
  if (y_TN.numel() == 0) return y_TN;
  const float* in = x.const_data_ptr<float>();
  const float* shift = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  float* out = y_TN.mutable_data_ptr<float>();
  const int64_t work_per_panel = rows * std::max<int64_t>(weight.in_features, 1) * kPanel;
  in_parallel(panels_for(n), 1 + kWorthAThread / work_per_panel, [&](int64_t begin, int64_t end) {
    multiply_panels(in, rows, weight, shift, begin, end, out + begin * kPanel, n,
                    thread_scratch(gemm_scratch_floats(rows, weight.in_features)));
  });
  return y_TN;
}

at::Tensor linear(const at::Tensor& x_TK, const at::Tensor& weight_NK, const at::Tensor& bias_N) {
  std::optional<at::Tensor> bias;
  if (bias_N.defined()) bias = bias_N.to(x_TK.options());
  return at::linear(x_TK, weight_NK.to(x_TK.options()), bias);
}

}  // namespace evalmpi::ops

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <cublasLt.h>

#include <string>

#include "cuda_ops.h"
#include "evalmpi/ops/kernels.h"
#include "launch_error.h"
#include "tensors.h"

namespace evalmpi::ops::cuda {
namespace {

const float* floats_or_null(const at::Tensor& x) { return x.defined() ? x.const_data_ptr<float>() : nullptr; }

void check_floats(const at::Tensor& x, int64_t count) {
  EVALMPI_CHECK(!x.defined() || (x.scalar_type() == at::kFloat && x.numel() == count));
}

}  // namespace

void fail_launch(const char* kernel, const char* cuda_words) {
  fail(ExitCode::kUnavailable, "the CUDA kernel \"{}\" could not be started: {}", kernel, cuda_words);
}

void synchronise(at::Device device) {
  if (!device.is_cuda()) return;
  const OnDevice guard(device);
  at::cuda::getCurrentCUDAStream(device.index()).synchronize();
}

const char* kernel_class() {
  static const std::string plain = "cuda-kernels-2 keys64 head16384 cublasLt-" + std::to_string(cublasLtGetVersion());
  static const std::string fast = plain + " fast";
  return fast_kernels() ? fast.c_str() : plain.c_str();
}

at::Tensor to_device(const at::Tensor& host, at::Device device) {
  at::Tensor placed = at::empty(host.sizes(), host.options().device(device));
  refill(host, placed);
  return placed;
}

void refill(const at::Tensor& host, const at::Tensor& placed) {
  if (host.numel() == 0) return;
  const OnDevice guard(placed.device());
  const at::Tensor pinned = at::empty(host.sizes(), host.options().pinned_memory(true));
  pinned.copy_(host);
  placed.copy_(pinned, /*non_blocking=*/true);
}

at::Tensor normalise(const at::Tensor& x_TD, const at::Tensor& weight_PD, const NormRule& rule, at::ScalarType out) {
  EVALMPI_CHECK(x_TD.dim() == 2);
  const int64_t rows = x_TD.size(0), width = x_TD.size(1);
  EVALMPI_CHECK(weight_PD.scalar_type() == at::kFloat && (width == 0 || weight_PD.numel() % width == 0));
  check_floats(rule.bias_D, width);
  check_floats(rule.squares_T1, rows);
  const OnDevice guard(x_TD.device());
  const at::Tensor x = ready(x_TD), weight = ready(weight_PD), bias = ready(rule.bias_D),
                   squares = ready(rule.squares_T1);
  at::Tensor y = at::empty(x.sizes(), x.options().dtype(out));
  if (y.numel() == 0) return y;
  launch_norm({.x = x.const_data_ptr(),
               .x_type = data_type(x.scalar_type()),
               .weight = weight.const_data_ptr<float>(),
               .bias = floats_or_null(bias),
               .squares = floats_or_null(squares),
               .rows = rows,
               .width = width,
               .weight_rows = weight.numel() / width,
               .of_width = squares.defined() ? rule.of_width : width,
               .eps = static_cast<float>(rule.eps),
               .is_centred = rule.is_centred,
               .y = y.mutable_data_ptr(),
               .y_type = data_type(out)},
              stream_of(x));
  return y;
}

at::Tensor square_sums(const at::Tensor& x_TD) {
  EVALMPI_CHECK(x_TD.dim() == 2);
  const OnDevice guard(x_TD.device());
  const at::Tensor x = ready(x_TD);
  at::Tensor sums = at::empty({x.size(0), 1}, x.options().dtype(at::kFloat));
  launch_square_sums(x.const_data_ptr(), data_type(x.scalar_type()), x.size(0), x.size(1),
                     sums.mutable_data_ptr<float>(), stream_of(x));
  return sums;
}

at::Tensor rotary(const at::Tensor& x_TNH, const at::Tensor& positions_T, const RotaryTable& table) {
  EVALMPI_CHECK(x_TNH.dim() == 3 && positions_T.scalar_type() == at::kInt && positions_T.device() == x_TNH.device());
  EVALMPI_CHECK(table.cos_PR.scalar_type() == at::kFloat && table.sin_PR.scalar_type() == at::kFloat);
  const OnDevice guard(x_TNH.device());
  const at::Tensor x = ready(x_TNH), positions = ready(positions_T);
  const at::Tensor cosines = ready(table.cos_PR), sines = ready(table.sin_PR);
  at::Tensor y = at::empty_like(x);
  if (y.numel() == 0) return y;
  launch_rotary({.x = x.const_data_ptr(),
                 .positions = positions.const_data_ptr<int32_t>(),
                 .cosines = cosines.const_data_ptr<float>(),
                 .sines = sines.const_data_ptr<float>(),
                 .rows = x.size(0),
                 .heads = static_cast<int>(x.size(1)),
                 .head_dim = static_cast<int>(x.size(2)),
                 .first = static_cast<int>(table.first),
                 .half = static_cast<int>(cosines.size(1)),
                 .is_interleaved = table.is_interleaved,
                 .y = y.mutable_data_ptr(),
                 .type = data_type(x.scalar_type())},
                stream_of(x));
  return y;
}

at::Tensor activate(Activation kind, const at::Tensor& x_TF) {
  const OnDevice guard(x_TF.device());
  const at::Tensor x = ready(x_TF);
  at::Tensor y = at::empty_like(x);
  launch_activation(kind, x.const_data_ptr(), nullptr, x.numel(), y.mutable_data_ptr(), data_type(x.scalar_type()),
                    stream_of(x));
  return y;
}

at::Tensor activate_mul(Activation kind, const at::Tensor& gate_TF, const at::Tensor& up_TF) {
  EVALMPI_CHECK(gate_TF.sizes() == up_TF.sizes() && gate_TF.scalar_type() == up_TF.scalar_type());
  const OnDevice guard(gate_TF.device());
  const at::Tensor gate = ready(gate_TF), up = ready(up_TF);
  at::Tensor y = at::empty_like(gate);
  launch_activation(kind, gate.const_data_ptr(), up.const_data_ptr(), gate.numel(), y.mutable_data_ptr(),
                    data_type(gate.scalar_type()), stream_of(gate));
  return y;
}

at::Tensor scale_and_cap(const at::Tensor& x_TV, double scale, double cap) {
  EVALMPI_CHECK(x_TV.scalar_type() == at::kFloat);
  const OnDevice guard(x_TV.device());
  const at::Tensor x = ready(x_TV);
  at::Tensor y = at::empty_like(x);
  launch_scale_and_cap(x.const_data_ptr<float>(), static_cast<float>(scale), static_cast<float>(cap), x.numel(),
                       y.mutable_data_ptr<float>(), stream_of(x));
  return y;
}

at::Tensor embedding(const at::Tensor& weight_VD, const at::Tensor& ids_T, int64_t first_id) {
  EVALMPI_CHECK(weight_VD.dim() == 2 && ids_T.scalar_type() == at::kInt && ids_T.device() == weight_VD.device());
  const OnDevice guard(weight_VD.device());
  const at::Tensor weight = ready(weight_VD), ids = ready(ids_T);
  at::Tensor y = at::empty({ids.numel(), weight.size(1)}, weight.options().dtype(at::kFloat));
  launch_embedding({.weight = weight.const_data_ptr(),
                    .weight_type = data_type(weight.scalar_type()),
                    .ids = ids.const_data_ptr<int32_t>(),
                    .rows = ids.numel(),
                    .first_id = first_id,
                    .vocabulary = weight.size(0),
                    .width = weight.size(1),
                    .y = y.mutable_data_ptr<float>()},
                   stream_of(weight));
  return y;
}

}  // namespace evalmpi::ops::cuda

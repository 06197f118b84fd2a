#pragma once

// The ops on CUDA tensors, behind the functions of include/evalmpi/ops. A build without CUDA has absent.cpp in their
// place, where nothing can be a CUDA tensor.

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>

#include "device_store.h"
#include "evalmpi/ops/attention.h"
#include "evalmpi/ops/elementwise.h"
#include "evalmpi/ops/experts.h"
#include "evalmpi/ops/head.h"

namespace evalmpi::ops::cuda {

// Returns when this thread's current stream of a CUDA device has done its work; on others at once.
void synchronise(at::Device device);

// x: float32 or a 16-bit type; row r is scaled by row r mod P of weight_PD, float32 -> [T, D] in `out`.
struct NormRule {
  at::Tensor bias_D = {};      // float32; undefined: none
  at::Tensor squares_T1 = {};  // sums of squares of rows of `of_width` values; undefined: of x itself
  int64_t of_width = 0;
  double eps = 0;
  bool is_centred = false;
};
at::Tensor normalise(const at::Tensor& x_TD, const at::Tensor& weight_PD, const NormRule& rule, at::ScalarType out);
at::Tensor square_sums(const at::Tensor& x_TD);

// In x's type.
at::Tensor rotary(const at::Tensor& x_TNH, const at::Tensor& positions_T, const RotaryTable& table);
at::Tensor activate(Activation kind, const at::Tensor& x_TF);
at::Tensor activate_mul(Activation kind, const at::Tensor& gate_TF, const at::Tensor& up_TF);

at::Tensor scale_and_cap(const at::Tensor& x_TV, double scale, double cap);  // float32
at::Tensor embedding(const at::Tensor& weight_VD, const at::Tensor& ids_T, int64_t first_id);

// x W^T + b in weight's type with float32 sums, rounded once to form.out (float32 or weight's type). The kernel is
// chosen for (N, K, types, form) alone, so that a row's bits do not depend on the number of rows (product.cpp).
at::Tensor linear(const at::Tensor& x_TK, const at::Tensor& weight_NK, const at::Tensor& bias_N,
                  const ProductForm& form);

// [R * 3 + M] int32 on the device: for each row the bits of its max and sum and its argmax, then the bits of the
// targets' logits.
at::Tensor launch_head(const at::Tensor& hidden_RD, const at::Tensor& weight_VD, const LogitRule& rule,
                       const at::Tensor& row_of_target_M, const at::Tensor& column_of_target_M);

// As ops::route: one wait for the device, at its end.
Routes route(const at::Tensor& logits_TE, const RouteRule& rule);
// sum_TD[rows_R[i]] += weights_R1[i] * y_RD[i]; each row at most once.
void add_rows(at::Tensor& sum_TD, const at::Tensor& rows_R, const at::Tensor& weights_R1, const at::Tensor& y_RD);

// The tables of a plan on the device.
class DevicePlan;
struct DevicePlanDeleter {
  void operator()(DevicePlan* plan) const;
};
using DevicePlanHandle = std::unique_ptr<DevicePlan, DevicePlanDeleter>;
DevicePlanHandle make_device_plan(DeviceStore& store, std::span<const AttentionSpan> spans, int64_t rows,
                                  std::span<const int32_t> kv_head_of_query_N, int64_t room_positions);
bool fits(const DevicePlan& plan, const DeviceStore& store);
void refill(DevicePlan& plan, DeviceStore& store, std::span<const AttentionSpan> spans);
at::Tensor attention(const at::Tensor& q_TNH, const at::Tensor& k_TGH, const at::Tensor& v_TGU, const DevicePlan& plan,
                     DeviceStore& store, int64_t layer, const AttentionRule& rule);

// Host numbers on a CUDA device, through pinned memory: does not wait, and `host` may change at once.
at::Tensor to_device(const at::Tensor& host, at::Device device);
// The same into a tensor that is there.
void refill(const at::Tensor& host, const at::Tensor& on_device);

// Names the arithmetic for the numerics class.
const char* kernel_class();

}  // namespace evalmpi::ops::cuda

#include "evalmpi/ops/elementwise.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/threads.h"
#include "kernel_test.h"

namespace evalmpi::ops {
namespace {

const int64_t kWidths[] = {1, 5, 16, 17, 64, 301, 768, 4096};

std::vector<double> norm(const at::Tensor& x_TD, const at::Tensor& weight, const at::Tensor& bias, double eps,
                         bool centred) {
  const int64_t width = x_TD.size(1);
  std::vector<double> y;
  for (int64_t t = 0; t < x_TD.size(0); ++t) {
    const std::span<const float> x = values(x_TD).subspan(t * width, width);
    double mean = 0.0, squares = 0.0;
    for (float v : x) mean += centred ? double{v} / width : 0.0;
    for (float v : x) squares += (v - mean) * (v - mean) / width;
    for (int64_t i = 0; i < width; ++i)
      y.push_back((x[i] - mean) / std::sqrt(squares + eps) * values(weight)[i] +
                  (bias.defined() ? values(bias)[i] : 0.0));
  }
  return y;
}

TEST(Norms, agree_with_double_precision) {
  for (int64_t width : kWidths) {
    const at::Tensor x = random_tensor({5, width}, 1, 3.0f) + 0.5, weight = random_tensor({width}, 2);
    const at::Tensor bias = random_tensor({width}, 3);
    const at::Tensor rms = on_every_variant([&] { return rms_norm(x, weight, 1e-5); });
    EXPECT_TRUE(near(values(rms), norm(x, weight, {}, 1e-5, false), 3e-6)) << width;
    for (const at::Tensor& b : {at::Tensor(), bias}) {
      const at::Tensor y = on_every_variant([&] { return layer_norm(x, weight, b, 1e-5); });
      EXPECT_TRUE(near(values(y), norm(x, weight, b, 1e-5, true), 5e-6)) << width;
    }
  }
}

TEST(Norms, a_nan_stays_in_its_row) {
  at::Tensor x = random_tensor({3, 40}, 4);
  const at::Tensor weight = random_tensor({40}, 5);
  const at::Tensor clean = rms_norm(x, weight, 1e-6);
  x.mutable_data_ptr<float>()[40 + 39] = std::nanf("");
  for (const at::Tensor& y : {rms_norm(x, weight, 1e-6), layer_norm(x, weight, {}, 1e-6)}) {
    for (float v : values(y.narrow(0, 1, 1))) EXPECT_TRUE(std::isnan(v));
    for (float v : values(y.narrow(0, 2, 1))) EXPECT_FALSE(std::isnan(v));
  }
  EXPECT_TRUE(same_bits(rms_norm(x, weight, 1e-6).narrow(0, 0, 1), clean.narrow(0, 0, 1)));
}

TEST(Rotary, turns_pairs_by_their_angles) {
  for (const auto& [head_dim, half] : {std::pair<int64_t, int64_t>{64, 32}, {80, 10}, {6, 2}, {5, 0}, {128, 64}}) {
    const at::Tensor x = random_tensor({4, 3, head_dim}, 6);
    const at::Tensor positions = at::empty({4}, at::kInt);
    const int32_t position_of[] = {7, 0, 3, 7};
    std::copy_n(position_of, 4, positions.mutable_data_ptr<int32_t>());
    at::Tensor cos = at::empty({8, half}, at::kFloat), sin = at::empty({8, half}, at::kFloat);
    for (int64_t i = 0; i < 8 * half; ++i) {
      cos.mutable_data_ptr<float>()[i] = std::cos(0.3f * i);
      sin.mutable_data_ptr<float>()[i] = std::sin(0.3f * i);
    }
    std::vector<double> want;
    for (int64_t t = 0; t < 4; ++t)
      for (int64_t n = 0; n < 3; ++n)
        for (int64_t i = 0; i < head_dim; ++i) {
          const float* head = &values(x)[(t * 3 + n) * head_dim];
          const int64_t pair = i % std::max<int64_t>(half, 1), at = position_of[t] * half + pair;
          want.push_back(i >= 2 * half ? head[i]
                         : i < half    ? double{head[i]} * values(cos)[at] - double{head[i + half]} * values(sin)[at]
                                       : double{head[i]} * values(cos)[at] + double{head[pair]} * values(sin)[at]);
        }
    const at::Tensor y = on_every_variant([&] { return rotary(x, positions, {.cos_PR = cos, .sin_PR = sin}); });
    EXPECT_TRUE(near(values(y), want, 1e-6));
    at::Tensor with_gradient = x.clone();
    with_gradient.requires_grad_(true);
    const at::Tensor through_aten = rotary(with_gradient, positions, {.cos_PR = cos, .sin_PR = sin});
    EXPECT_TRUE(through_aten.requires_grad());
    EXPECT_TRUE(same_bits(y, through_aten.detach()));  // the order of Hugging Face's eager code
    EXPECT_THROW(rotary(x, positions, {.cos_PR = cos.narrow(0, 0, 7), .sin_PR = sin.narrow(0, 0, 7)}), Error);
  }
}

TEST(Rotary, turns_neighbours_where_interleaved) {
  const int64_t head_dim = 11, half = 3, first = 2;
  const at::Tensor x = random_tensor({2, 2, head_dim}, 16);
  at::Tensor positions = at::empty({2}, at::kInt);
  positions.mutable_data_ptr<int32_t>()[0] = 4;
  positions.mutable_data_ptr<int32_t>()[1] = 1;
  const at::Tensor cos = random_tensor({5, half}, 17), sin = random_tensor({5, half}, 18);
  const RotaryTable table{.cos_PR = cos, .sin_PR = sin, .first = first, .is_interleaved = true};
  std::vector<double> want(values(x).begin(), values(x).end());
  for (int64_t t = 0; t < 2; ++t)
    for (int64_t n = 0; n < 2; ++n)
      for (int64_t i = 0; i < half; ++i) {
        const int64_t at = (t * 2 + n) * head_dim + first + 2 * i, row = (t == 0 ? 4 : 1) * half + i;
        const double a = values(x)[at], b = values(x)[at + 1], c = values(cos)[row], s = values(sin)[row];
        want[at] = a * c - b * s;
        want[at + 1] = b * c + a * s;
      }
  const at::Tensor y = on_every_variant([&] { return rotary(x, positions, table); });
  EXPECT_TRUE(near(values(y), want, 1e-6));
  at::Tensor with_gradient = x.clone();
  with_gradient.requires_grad_(true);
  EXPECT_TRUE(same_bits(y, rotary(with_gradient, positions, table).detach()));
}

TEST(Norms, whole_rows_and_rows_cut_over_places_agree) {
  const at::Tensor x = random_tensor({5, 30}, 26), weight = random_tensor({30}, 27);
  const at::Tensor whole = rms_norm(x, weight, 1e-5);
  EXPECT_TRUE(same_bits(rms_norm_of(x, square_sums(x), 30, weight, 1e-5), whole));
  const at::Tensor left = x.narrow(1, 0, 14).contiguous(), right = x.narrow(1, 14, 16).contiguous();
  const at::Tensor squares = square_sums(left).add(square_sums(right));
  const at::Tensor part = rms_norm_of(left, squares, 30, weight.narrow(0, 0, 14).contiguous(), 1e-5);
  for (int64_t row = 0; row < 5; ++row)
    for (int64_t i = 0; i < 14; ++i) EXPECT_NEAR(values(part)[row * 14 + i], values(whole)[row * 30 + i], 1e-6);
}

TEST(Activations, caps_keep_small_values_exact) {
  at::Tensor x = at::empty({1, 2001}, at::kFloat);
  for (int64_t i = 0; i < 2001; ++i) x.mutable_data_ptr<float>()[i] = 1e-4f * static_cast<float>(i - 1000);
  const at::Tensor y = on_every_variant([&] { return scale_and_cap(x, 1.0, 0.5); });
  for (int64_t i = 0; i < 2001; ++i) {
    const double want = 0.5 * std::tanh(double{values(x)[i]} / 0.5);
    EXPECT_NEAR(values(y)[i], want, 3e-7 * std::abs(want)) << values(x)[i];
  }
}

double silu(double z) { return z / (1.0 + std::exp(-z)); }
double gelu_erf(double z) { return 0.5 * z * std::erfc(-z / std::sqrt(2.0)); }
double gelu_tanh(double z) {
  return 0.5 * z * (1.0 + std::tanh(std::sqrt(2.0 / std::acos(-1.0)) * (z + 0.044715 * z * z * z)));
}

double quick_gelu(double z) { return z / (1.0 + std::exp(-1.702 * z)); }

at::Tensor sweep() {
  at::Tensor x = at::empty({1, 40001}, at::kFloat);
  for (int64_t i = 0; i < 40001; ++i) x.mutable_data_ptr<float>()[i] = -10.0f + 0.0005f * static_cast<float>(i);
  return x;
}

TEST(Activations, agree_with_double_precision) {
  const at::Tensor x = sweep();
  const at::Tensor ones = at::empty({1, 40001}, at::kFloat).fill_(1.0);
  const struct {
    std::function<at::Tensor()> ours;
    double (*want)(double);
  } cases[] = {{[&] { return activate_mul(Activation::kSilu, x, ones); }, silu},
               {[&] { return activate_mul(Activation::kQuickGelu, x, ones); }, quick_gelu},
               {[&] { return activate(Activation::kGeluErf, x); }, gelu_erf},
               {[&] { return activate(Activation::kGeluTanh, x); }, gelu_tanh}};
  for (const auto& c : cases) {
    std::vector<double> want;
    for (float v : values(x)) want.push_back(c.want(v));
    EXPECT_TRUE(near(values(on_every_variant(c.ours)), want, 1e-6));
  }
}

TEST(Activations, agree_with_aten) {
  const at::Tensor x = sweep();
  at::Tensor with_gradient = x.clone();
  with_gradient.requires_grad_(true);
  const auto as_double = [](const at::Tensor& y) {
    const at::Tensor plain = y.detach().contiguous();
    return std::vector<double>(values(plain).begin(), values(plain).end());
  };
  EXPECT_TRUE(near(values(activate_mul(Activation::kSilu, x, x)),
                   as_double(activate_mul(Activation::kSilu, with_gradient, x)), 8e-6));
  for (Activation kind :
       {Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu, Activation::kSilu, Activation::kQuickGelu}) {
    EXPECT_TRUE(near(values(activate(kind, x)), as_double(activate(kind, with_gradient)), 3e-6));
    const at::Tensor product = activate_mul(kind, x, x);
    EXPECT_TRUE(near(values(product), as_double(activate_mul(kind, with_gradient, x)), 3e-5));
  }
  EXPECT_TRUE(near(values(scale_and_cap(x, 0.7, 3.0)), as_double(scale_and_cap(with_gradient, 0.7, 3.0)), 1e-6));
  const at::Tensor rows = random_tensor({4, 64}, 8), weight = random_tensor({64}, 9);
  at::Tensor rows_with_gradient = rows.clone();
  rows_with_gradient.requires_grad_(true);
  EXPECT_TRUE(near(values(rms_norm(rows, weight, 1e-6)), as_double(rms_norm(rows_with_gradient, weight, 1e-6)), 2e-6));
  EXPECT_TRUE(near(values(layer_norm(rows, weight, weight, 1e-6)),
                   as_double(layer_norm(rows_with_gradient, weight, weight, 1e-6)), 2e-6));
}

TEST(Activations, extremes_are_sane) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float extremes[] = {1e30f, -1e30f, infinity, 1e-40f, -1e-40f, 0.0f, std::nanf(""), 200.0f, -200.0f};
  at::Tensor x = at::empty({1, 9}, at::kFloat);
  std::copy_n(extremes, 9, x.mutable_data_ptr<float>());
  const at::Tensor ones = at::empty({1, 9}, at::kFloat).fill_(1.0);
  for_each_variant([&] {
    for (const at::Tensor& y : {activate_mul(Activation::kSilu, x, ones), activate(Activation::kGeluErf, x),
                                activate(Activation::kGeluTanh, x)}) {
      EXPECT_EQ(values(y)[0], 1e30f);
      EXPECT_EQ(values(y)[1], 0.0f);
      EXPECT_EQ(values(y)[2], infinity);
      EXPECT_NEAR(values(y)[3], 0.5e-40f, 1e-44f);
      EXPECT_NEAR(values(y)[4], -0.5e-40f, 1e-44f);
      EXPECT_EQ(values(y)[5], 0.0f);
      EXPECT_TRUE(std::isnan(values(y)[6]));
      EXPECT_EQ(values(y)[7], 200.0f);
      EXPECT_EQ(values(y)[8], 0.0f);
    }
  });
}

TEST(Rows, do_not_depend_on_neighbours_or_threads) {
  const at::Tensor x = random_tensor({70, 600}, 10), up = random_tensor({70, 600}, 11),
                   weight = random_tensor({600}, 12);
  const std::function<at::Tensor(int64_t, int64_t)> cases[] = {
      [&](int64_t b, int64_t n) { return rms_norm(x.narrow(0, b, n), weight, 1e-5); },
      [&](int64_t b, int64_t n) { return layer_norm(x.narrow(0, b, n), weight, weight, 1e-5); },
      [&](int64_t b, int64_t n) { return activate_mul(Activation::kSilu, x.narrow(0, b, n), up.narrow(0, b, n)); },
      [&](int64_t b, int64_t n) { return activate(Activation::kGeluErf, x.narrow(0, b, n)); },
      [&](int64_t b, int64_t n) { return activate(Activation::kGeluTanh, x.narrow(0, b, n)); }};
  for (const auto& f : cases) {
    const at::Tensor all = f(0, 70);
    for (int64_t n : {1, 3, 13, 69}) EXPECT_TRUE(same_bits(f(70 - n, n), all.narrow(0, 70 - n, n)));
    const LentCores helper(1);
    EXPECT_TRUE(same_bits(f(0, 70), all));
    EXPECT_EQ(f(0, 0).sizes(), at::IntArrayRef({0, 600}));
  }
}

TEST(Embedding, gives_zero_rows_for_other_shards) {
  const at::Tensor weight = random_tensor({10, 4}, 13);
  for (at::ScalarType id_type : {at::kInt, at::kLong}) {
    const at::Tensor ids = (at::empty({4}, id_type).fill_(100) + at::empty({4}, id_type).fill_(3));
    at::Tensor mixed = ids.clone();
    mixed[1].fill_(99);
    mixed[2].fill_(110);
    const at::Tensor y = ops::embedding(weight, mixed, 100);
    EXPECT_TRUE(same_bits(y[0], weight[3]));
    EXPECT_TRUE(same_bits(y[3], weight[3]));
    for (int64_t row : {1, 2})
      for (float v : values(y[row])) EXPECT_EQ(v, 0.0f);
    EXPECT_EQ(ops::embedding(weight.to(at::kBFloat16), mixed, 100).scalar_type(), at::kFloat);
    EXPECT_EQ(ops::embedding(weight.narrow(0, 0, 0), mixed, 100).sizes(), at::IntArrayRef({4, 4}));
  }
}

// 37 rows: the last panel of 16 is not full.
TEST(Embedding, of_a_packed_weight_has_the_bits_of_the_plain_one) {
  const at::Tensor ids = at::empty({5}, at::kInt);
  const int32_t chosen[] = {100, 136, 115, 99, 137};
  std::copy_n(chosen, 5, ids.mutable_data_ptr<int32_t>());
  for (at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor weight = random_tensor({37, 21}, 14).to(type);
    EXPECT_TRUE(same_bits(ops::embedding(PackedLinear::pack(weight), ids, 100), ops::embedding(weight, ids, 100)));
    const PackedLinear none = PackedLinear::pack(weight.narrow(0, 0, 0));
    EXPECT_TRUE(same_bits(ops::embedding(none, ids, 100), at::zeros({5, 21})));
  }
}

}  // namespace
}  // namespace evalmpi::ops

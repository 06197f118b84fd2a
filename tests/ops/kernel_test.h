#pragma once

// Tensors and comparisons for the tests of ops.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "cpu/select.h"
#include "evalmpi/ops/head.h"

namespace evalmpi::ops {

// Normally distributed float32 values, the same for the same seed.
inline at::Tensor random_tensor(at::IntArrayRef shape, uint32_t seed, float scale = 1.0f) {
  at::Tensor x = at::empty(shape, at::kFloat);
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  float* data = x.mutable_data_ptr<float>();
  for (int64_t i = 0; i < x.numel(); ++i) data[i] = normal(generator);
  return x;
}

inline std::span<const float> values(const at::Tensor& x) {
  EXPECT_TRUE(x.is_contiguous() && x.scalar_type() == at::kFloat);
  return {x.const_data_ptr<float>(), static_cast<size_t>(x.numel())};
}

inline uint32_t bits(float x) {
  uint32_t b;
  std::memcpy(&b, &x, sizeof b);
  return b;
}

inline ::testing::AssertionResult same_bits(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << a.size() << " against " << b.size() << " values";
  for (size_t i = 0; i < a.size(); ++i)
    if (bits(a[i]) != bits(b[i]))
      return ::testing::AssertionFailure()
             << "value " << i << ": " << a[i] << " against " << b[i] << ", difference " << a[i] - b[i];
  return ::testing::AssertionSuccess();
}

inline ::testing::AssertionResult same_bits(const at::Tensor& a, const at::Tensor& b) {
  return same_bits(values(a.contiguous()), values(b.contiguous()));
}

// |got - want| <= tolerance * max(1, |want|) everywhere, and no NaN.
inline ::testing::AssertionResult near(std::span<const float> got, std::span<const double> want, double tolerance) {
  if (got.size() != want.size())
    return ::testing::AssertionFailure() << got.size() << " against " << want.size() << " values";
  for (size_t i = 0; i < got.size(); ++i)
    if (!(std::abs(got[i] - want[i]) <= tolerance * std::max(1.0, std::abs(want[i]))))
      return ::testing::AssertionFailure() << "value " << i << ": " << got[i] << ", should be " << want[i];
  return ::testing::AssertionSuccess();
}

// Runs f under every kernel table that this processor has.
template <class F>
void for_each_variant(F f) {
  for (const CpuKernels* table : available_kernels()) {
    SCOPED_TRACE(table->variant);
    use_cpu_kernels(table->variant);
    f();
  }
  use_cpu_kernels("");
}

// f() gives a tensor: its bits must be the same under every kernel table. Returns it.
template <class F>
at::Tensor on_every_variant(F f) {
  at::Tensor first;
  for_each_variant([&] {
    const at::Tensor result = f();
    if (!first.defined()) first = result;
    EXPECT_TRUE(same_bits(result, first));
  });
  return first;
}

}  // namespace evalmpi::ops

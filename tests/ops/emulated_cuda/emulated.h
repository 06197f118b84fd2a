#pragma once

// Values in the kernels' types, and grids, for the tests that run kernels on the CPU.

#include <span>
#include <vector>

#include "../kernel_test.h"
#include "block.h"

namespace evalmpi::ops::cuda {

template <class T>
std::vector<T> as(std::span<const float> from) {
  return std::vector<T>(from.begin(), from.end());
}

template <class T>
std::vector<float> widened(const std::vector<T>& from) {
  return std::vector<float>(from.begin(), from.end());
}

// x with its values rounded to T.
template <class T>
at::Tensor rounded(const at::Tensor& x) {
  at::Tensor y = x.clone();
  for (float& value : std::span(y.mutable_data_ptr<float>(), y.numel())) value = static_cast<float>(T(value));
  return y;
}

inline dim3 grid(int64_t x, int64_t y = 1, int64_t z = 1) {
  return {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)};
}

inline ::testing::AssertionResult close(std::span<const float> got, std::span<const float> want, float tolerance) {
  const std::vector<double> wide(want.begin(), want.end());
  return near(got, wide, tolerance);
}

}  // namespace evalmpi::ops::cuda

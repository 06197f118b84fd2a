#pragma once

// Kernels that go along one row: norms, rotary positions, activations, summaries of logits.

#include "cpu/functions.h"

namespace evalmpi::ops {
namespace {

inline float inverse_root(float sum_of_squares, int64_t width, float eps) {
  return 1.0f / __builtin_sqrtf(sum_of_squares / static_cast<float>(width) + eps);
}

void square_sums(const float* x, int64_t rows, int64_t width, float* sums) {
  for (int64_t row = 0; row < rows; ++row, x += width) {
    Lanes squares = splat(0.0f);
    for (int64_t i = 0; i < width; i += kPanel) {
      const Lanes v = load_first(x + i, width - i);
      squares = fma(v, v, squares);
    }
    sums[row] = sum_lanes(squares);
  }
}

void scale_by_squares(const float* x, const float* sums, int64_t of_width, const float* weight, float eps, int64_t rows,
                      int64_t width, float* y) {
  for (int64_t row = 0; row < rows; ++row, x += width, y += width) {
    const Lanes factor = splat(inverse_root(sums[row], of_width, eps));
    for (int64_t i = 0; i < width; i += kPanel)
      store_first(y + i, load_first(weight + i, width - i) * (load_first(x + i, width - i) * factor), width - i);
  }
}

void rms_norm(const float* x, const float* weight, float eps, int64_t rows, int64_t width, float* y) {
  for (int64_t row = 0; row < rows; ++row, x += width, y += width) {
    float sum;
    square_sums(x, 1, width, &sum);
    scale_by_squares(x, &sum, width, weight, eps, 1, width, y);
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t rows, int64_t width,
                float* y) {
  for (int64_t row = 0; row < rows; ++row, x += width, y += width) {
    Lanes sum = splat(0.0f), squares = splat(0.0f);
    for (int64_t i = 0; i < width; i += kPanel) sum = sum + load_first(x + i, width - i);
    const Lanes mean = splat(sum_lanes(sum) / static_cast<float>(width));
    for (int64_t i = 0; i < width; i += kPanel) {
      const Lanes v = select(first_lanes(width - i), load_first(x + i, width - i) - mean, splat(0.0f));
      squares = fma(v, v, squares);
    }
    const Lanes factor = splat(inverse_root(sum_lanes(squares), width, eps));
    for (int64_t i = 0; i < width; i += kPanel) {
      const int64_t n = width - i;
      const Lanes shift = bias != nullptr ? load_first(bias + i, n) : splat(0.0f);
      store_first(y + i, fma((load_first(x + i, n) - mean) * factor, load_first(weight + i, n), shift), n);
    }
  }
}

// What is not rotated: [0, first) and [first + 2 half, head_dim).
inline void pass_through(const float* x, int64_t head_dim, int64_t first, int64_t half, float* y) {
  const int64_t end = first + 2 * half;
  __builtin_memcpy(y, x, sizeof(float) * static_cast<uint64_t>(first));
  __builtin_memcpy(y + end, x + end, sizeof(float) * static_cast<uint64_t>(head_dim - end));
}

void rotary(const float* x, const float* cos, const float* sin, int64_t heads, int64_t head_dim, int64_t first,
            int64_t half, float* y) {
  for (int64_t head = 0; head < heads; ++head, x += head_dim, y += head_dim) {
    const float *low = x + first, *high = low + half;
    for (int64_t i = 0; i < half; i += kPanel) {
      const int64_t n = half - i;
      const Lanes a = load_first(low + i, n), b = load_first(high + i, n);
      const Lanes c = load_first(cos + i, n), s = load_first(sin + i, n);
      store_first(y + first + i, a * c - b * s, n);
      store_first(y + first + half + i, b * c + a * s, n);
    }
    pass_through(x, head_dim, first, half, y);
  }
}

void rotary_interleaved(const float* x, const float* cos, const float* sin, int64_t heads, int64_t head_dim,
                        int64_t first, int64_t half, float* y) {
  for (int64_t head = 0; head < heads; ++head, x += head_dim, y += head_dim) {
    for (int64_t i = 0; i < half; ++i) {
      const float a = x[first + 2 * i], b = x[first + 2 * i + 1];
      y[first + 2 * i] = a * cos[i] - b * sin[i];
      y[first + 2 * i + 1] = b * cos[i] + a * sin[i];
    }
    pass_through(x, head_dim, first, half, y);
  }
}

template <class F>
EVALMPI_LANES void map(const float* x, int64_t count, float* y, F f) {
  for (int64_t i = 0; i < count; i += kPanel) store_first(y + i, f(load_first(x + i, count - i), i), count - i);
}

// z / (1 + exp(-z))
EVALMPI_LANES Lanes silu(Lanes z) { return z / (splat(1.0f) + exp(splat(0.0f) - z)); }

// x / 2 * (1 + erf(x / sqrt(2)))
EVALMPI_LANES Lanes gelu_erf(Lanes z) { return splat(0.5f) * z * (splat(1.0f) + erf(z * splat(0.70710678f))); }

// x / 2 * (1 + tanh(u)) with u = sqrt(2 / pi) * (x + 0.044715 x^3), written as x / (1 + exp(-2 u))
EVALMPI_LANES Lanes gelu_tanh(Lanes z) {
  const Lanes u = splat(1.59576912f) * fma(splat(0.044715f) * z * z, z, z);
  return z / (splat(1.0f) + exp(splat(0.0f) - u));
}

// z / (1 + exp(-1.702 z))
EVALMPI_LANES Lanes quick_gelu(Lanes z) { return z / (splat(1.0f) + exp(splat(-1.702f) * z)); }

EVALMPI_LANES Lanes relu(Lanes z) { return max(splat(0.0f), z); }

void activate(Activation kind, const float* x, int64_t count, float* y) {
  switch (kind) {
    case Activation::kSilu: return map(x, count, y, [](Lanes z, int64_t) { return silu(z); });
    case Activation::kGeluErf: return map(x, count, y, [](Lanes z, int64_t) { return gelu_erf(z); });
    case Activation::kGeluTanh: return map(x, count, y, [](Lanes z, int64_t) { return gelu_tanh(z); });
    case Activation::kRelu: return map(x, count, y, [](Lanes z, int64_t) { return relu(z); });
    case Activation::kQuickGelu: return map(x, count, y, [](Lanes z, int64_t) { return quick_gelu(z); });
  }
}

template <class F>
EVALMPI_LANES void map_mul(const float* gate, const float* up, int64_t count, float* y, F f) {
  map(gate, count, y, [=](Lanes z, int64_t i) { return f(z) * load_first(up + i, count - i); });
}

void activate_mul(Activation kind, const float* gate, const float* up, int64_t count, float* y) {
  switch (kind) {
    case Activation::kSilu: return map_mul(gate, up, count, y, [](Lanes z) { return silu(z); });
    case Activation::kGeluErf: return map_mul(gate, up, count, y, [](Lanes z) { return gelu_erf(z); });
    case Activation::kGeluTanh: return map_mul(gate, up, count, y, [](Lanes z) { return gelu_tanh(z); });
    case Activation::kRelu: return map_mul(gate, up, count, y, [](Lanes z) { return relu(z); });
    case Activation::kQuickGelu: return map_mul(gate, up, count, y, [](Lanes z) { return quick_gelu(z); });
  }
}

void scale_and_cap(const float* x, float scale, float cap, int64_t count, float* y) {
  if (cap == 0.0f) return map(x, count, y, [=](Lanes z, int64_t) { return splat(scale) * z; });
  map(x, count, y, [=](Lanes z, int64_t) { return splat(cap) * tanh(splat(scale) * z / splat(cap)); });
}

void exp_rows(const float* x, int64_t count, float* y) {
  map(x, count, y, [](Lanes z, int64_t) { return exp(z); });
}

inline int32_t first_equal(const float* x, int64_t count, float value) {
  for (int64_t i = 0; i < count; i += kPanel) {
    const uint32_t hits = bitmask(load_first(x + i, count - i) == splat(value)) & bitmask(first_lanes(count - i));
    if (hits != 0) return static_cast<int32_t>(i) + __builtin_ctz(hits);
  }
  return -1;
}

void summarise(const float* logits, int64_t count, RowSummary* out) {
  const Lanes lowest = splat(-__builtin_inff());
  const auto at = [=](int64_t i) { return select(first_lanes(count - i), load_first(logits + i, count - i), lowest); };
  Lanes largest = lowest, sum = splat(0.0f);
  for (int64_t i = 0; i < count; i += kPanel) largest = max(largest, at(i));
  const float top = max_lanes(largest);
  // Nothing but -inf: their exponentials are 0 against any finite reference.
  const Lanes reference = splat(top == -__builtin_inff() ? 0.0f : top);
  for (int64_t i = 0; i < count; i += kPanel) sum = sum + exp(at(i) - reference);
  const float total = sum_lanes(sum);
  *out = {.max = total == total ? top : total, .sum = total, .argmax = first_equal(logits, count, top)};
}

}  // namespace
}  // namespace evalmpi::ops

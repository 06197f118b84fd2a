#pragma once

// Kernels that work on one row at a time: what a row gets depends on that row alone. Sums run over a fixed number of
// threads, each in ascending order, then over a fixed tree.

#include "attend_call.h"
#include "block.h"
#include "evalmpi/ops/activation.h"

namespace evalmpi::ops::cuda {

constexpr int kRowThreads = 256;
constexpr int kElementThreads = 256;

// Values that are read or written by one instruction.
template <class T>
struct alignas(16) Pack {
  T value[16 / sizeof(T)];
};

// The sum of all threads' values, on all threads. `scratch` holds kRowThreads floats.
__device__ inline float row_sum(float value, float* scratch) {
  __syncthreads();
  scratch[threadIdx.x] = value;
  __syncthreads();
  for (unsigned half = kRowThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
    __syncthreads();
  }
  return scratch[0];
}

template <class T>
__device__ inline float sum_of_squares(const T* row, int64_t width, float mean, float* scratch) {
  float squares = 0.0f;
  for (int64_t i = threadIdx.x; i < width; i += kRowThreads) {
    const float value = static_cast<float>(row[i]) - mean;
    squares += value * value;
  }
  return row_sum(squares, scratch);
}

// Block r: row r. RMS norm, or layer norm when `is_centred`; bias may be null. squares: null, or the rows' sums of
// squares over `of_width` values. Row r has the weight r mod weight_rows.
template <class T, class Out>
__global__ void normalise_rows(const T* x, const float* weight, const float* bias, const float* squares, float eps,
                               int64_t width, int64_t weight_rows, int64_t of_width, bool is_centred, Out* y) {
  float* scratch = reinterpret_cast<float*>(shared_memory);
  const T* row = x + blockIdx.x * width;
  const float* row_weight = weight + blockIdx.x % weight_rows * width;
  Out* out = y + blockIdx.x * width;
  float mean = 0.0f;
  if (is_centred) {
    float sum = 0.0f;
    for (int64_t i = threadIdx.x; i < width; i += kRowThreads) sum += static_cast<float>(row[i]);
    mean = row_sum(sum, scratch) / static_cast<float>(width);
  }
  const float total = squares == nullptr ? sum_of_squares(row, width, mean, scratch) : squares[blockIdx.x];
  const float scale = 1.0f / sqrtf(total / static_cast<float>(of_width) + eps);
  for (int64_t i = threadIdx.x; i < width; i += kRowThreads) {
    const float value = (static_cast<float>(row[i]) - mean) * scale * row_weight[i];
    out[i] = static_cast<Out>(bias == nullptr ? value : value + bias[i]);
  }
}

// Block r: the sum of squares of row r.
template <class T>
__global__ void square_rows(const T* x, int64_t width, float* sums) {
  float* scratch = reinterpret_cast<float*>(shared_memory);
  const float sum = sum_of_squares(x + blockIdx.x * width, width, 0.0f, scratch);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// Block r: row r of [rows, heads, head_dim], rotated by its position: 2 half dimensions of each head from `first` on,
// in pairs (i, i + half), or (2 i, 2 i + 1) where interleaved.
template <class T>
__global__ void rotate_rows(const T* x, const int32_t* positions, const float* cosines, const float* sines, int heads,
                            int head_dim, int first, int half, bool is_interleaved, T* y) {
  const int64_t width = static_cast<int64_t>(heads) * head_dim;
  const float* c = cosines + static_cast<int64_t>(positions[blockIdx.x]) * half;
  const float* s = sines + static_cast<int64_t>(positions[blockIdx.x]) * half;
  for (int64_t i = threadIdx.x; i < width; i += kRowThreads) {
    const int d = static_cast<int>(i % head_dim), turned = d - first;
    const T* head = x + blockIdx.x * width + (i - d);
    float value = static_cast<float>(head[d]);
    if (turned >= 0 && turned < 2 * half) {
      const int pair = is_interleaved ? turned / 2 : turned % half;
      const bool is_low = is_interleaved ? turned % 2 == 0 : turned < half;
      const int step = is_interleaved ? 1 : half;
      const float other = static_cast<float>(head[is_low ? d + step : d - step]);
      value = is_low ? value * c[pair] - other * s[pair] : value * c[pair] + other * s[pair];
    }
    y[blockIdx.x * width + i] = static_cast<T>(value);
  }
}

template <Activation kKind>
__device__ inline float activated(float z) {
  if constexpr (kKind == Activation::kSilu) return z / (1.0f + expf(-z));
  if constexpr (kKind == Activation::kGeluErf) return 0.5f * z * (1.0f + erff(z * 0.70710678118654752f));
  if constexpr (kKind == Activation::kGeluTanh) {
    return 0.5f * z * (1.0f + tanhf(0.79788456080286536f * (z + 0.044715f * z * z * z)));
  }
  // max(0, z) that keeps NaN.
  if constexpr (kKind == Activation::kRelu) return z < 0.0f ? 0.0f : z;
  return z / (1.0f + expf(-1.702f * z));
}

// activation(gate) * up, or activation(gate) where up is null; whole packs first, the rest one by one.
template <class T, Activation kKind>
__global__ void activate_values(const T* gate, const T* up, int64_t count, T* y) {
  constexpr int kPack = 16 / sizeof(T);
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kElementThreads + threadIdx.x;
  if ((thread + 1) * kPack <= count) {
    Pack<T> values = reinterpret_cast<const Pack<T>*>(gate)[thread];
    const Pack<T> factors = up == nullptr ? Pack<T>{} : reinterpret_cast<const Pack<T>*>(up)[thread];
    EVALMPI_UNROLL
    for (int i = 0; i < kPack; ++i) {
      const float value = activated<kKind>(static_cast<float>(values.value[i]));
      values.value[i] = static_cast<T>(up == nullptr ? value : value * static_cast<float>(factors.value[i]));
    }
    reinterpret_cast<Pack<T>*>(y)[thread] = values;
  } else {
    for (int64_t i = thread * kPack; i < count; ++i) {
      const float value = activated<kKind>(static_cast<float>(gate[i]));
      y[i] = static_cast<T>(up == nullptr ? value : value * static_cast<float>(up[i]));
    }
  }
}

// cap * tanh(scale * x / cap); scale * x for a cap of 0.
__device__ inline float scaled_and_capped(float x, float scale, float cap) {
  const float scaled = x * scale;
  return cap == 0.0f ? scaled : cap * tanhf(scaled / cap);
}

template <class T>
__global__ void scale_and_cap_values(const T* x, float scale, float cap, int64_t count, T* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kElementThreads + threadIdx.x;
  if (i < count) y[i] = static_cast<T>(scaled_and_capped(static_cast<float>(x[i]), scale, cap));
}

// Block t: the embedding of ids[t] as float32, or zeros when it is outside [first_id, first_id + vocabulary).
template <class T>
__global__ void embed_rows(const T* weight, const int32_t* ids, int64_t first_id, int64_t vocabulary, int64_t width,
                           float* y) {
  const int64_t id = ids[blockIdx.x] - first_id;
  const bool is_here = id >= 0 && id < vocabulary;
  for (int64_t i = threadIdx.x; i < width; i += kRowThreads) {
    y[blockIdx.x * width + i] = is_here ? static_cast<float>(weight[id * width + i]) : 0.0f;
  }
}

// Block i: copies keys [key_width] and values [value_width] of new row entries[i].row to entries[i].slot of the store.
template <class T>
__global__ void store_rows(const T* k, const T* v, const StoredRow* entries, int64_t key_width, int64_t value_width,
                           T* stored_k, T* stored_v) {
  const StoredRow entry = entries[blockIdx.x];
  if (entry.row < 0) return;
  for (int64_t i = threadIdx.x; i < key_width; i += kRowThreads)
    stored_k[entry.slot * key_width + i] = k[entry.row * key_width + i];
  for (int64_t i = threadIdx.x; i < value_width; i += kRowThreads)
    stored_v[entry.slot * value_width + i] = v[entry.row * value_width + i];
}

// Block i: sum[rows[i]] += weights[i] * y[i].
template <class T>
__global__ void add_weighted_rows(float* sum, const int32_t* rows, const float* weights, const T* y, int64_t width) {
  float* row = sum + rows[blockIdx.x] * width;
  const float weight = weights[blockIdx.x];
  for (int64_t i = threadIdx.x; i < width; i += kRowThreads)
    row[i] += weight * static_cast<float>(y[blockIdx.x * width + i]);
}

}  // namespace evalmpi::ops::cuda

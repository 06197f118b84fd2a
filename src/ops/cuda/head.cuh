#pragma once

// Logits of a tile of the vocabulary into what is kept of a row: its largest, the sum of exp(logit - largest), its
// argmax, and the logits of targets. Tiles come in ascending order of columns.

#include "rows.cuh"

namespace evalmpi::ops::cuda {

__device__ inline float rescaled(float sum, float from, float to) { return from == to ? sum : sum * expf(from - to); }

// Block r: takes the tile logits[r][0 .. width), which begins at `column`, into summaries[r]; column 0 begins them. NaN
// and +infinity make the sum NaN.
static __global__ void summarise_rows(const float* logits, int64_t width, int32_t column, float scale, float cap,
                                      RunningSummary* summaries) {
  float* best = reinterpret_cast<float*>(shared_memory);
  int32_t* at = reinterpret_cast<int32_t*>(best + kRowThreads);
  const float* row = logits + blockIdx.x * width;
  float max = -INFINITY;
  int32_t argmax = -1;
  for (int64_t i = threadIdx.x; i < width; i += kRowThreads) {
    const float logit = scaled_and_capped(row[i], scale, cap);
    if (logit > max || argmax < 0) {
      max = logit;
      argmax = static_cast<int32_t>(i);
    }
  }
  best[threadIdx.x] = max;
  at[threadIdx.x] = argmax;
  __syncthreads();
  for (unsigned half = kRowThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) {
      const float other = best[threadIdx.x + half];
      const int32_t other_at = at[threadIdx.x + half];
      const bool is_better = other > best[threadIdx.x] || (other == best[threadIdx.x] && other_at < at[threadIdx.x]);
      if (other_at >= 0 && (at[threadIdx.x] < 0 || is_better)) {
        best[threadIdx.x] = other;
        at[threadIdx.x] = other_at;
      }
    }
    __syncthreads();
  }
  max = best[0];
  argmax = at[0];
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < width; i += kRowThreads) sum += expf(scaled_and_capped(row[i], scale, cap) - max);
  sum = row_sum(sum, best);
  if (threadIdx.x != 0) return;
  RunningSummary& all = summaries[blockIdx.x];
  if (column == 0) {
    all = {max, sum, argmax};
    return;
  }
  const float top = max > all.max ? max : all.max;
  all.sum = rescaled(all.sum, all.max, top) + rescaled(sum, max, top);
  if (max > all.max) all.argmax = column + argmax;
  all.max = top;
}

// Thread m: the logit of target m when its token is in columns [column, column + width) and its row among the tile's;
// -infinity first, in the tile of row 0 and column 0.
static __global__ void pick_targets(const float* logits, int64_t rows, int64_t width, int32_t first_row, int32_t column,
                                    float scale, float cap, const int32_t* row_of_target,
                                    const int32_t* column_of_target, int64_t targets, float* target_logits) {
  const int64_t m = static_cast<int64_t>(blockIdx.x) * kElementThreads + threadIdx.x;
  if (m >= targets) return;
  const int64_t row = row_of_target[m] - first_row, at = static_cast<int64_t>(column_of_target[m]) - column;
  if (row >= 0 && row < rows && at >= 0 && at < width) {
    target_logits[m] = scaled_and_capped(logits[row * width + at], scale, cap);
  } else if (first_row == 0 && column == 0) {
    target_logits[m] = -INFINITY;
  }
}

}  // namespace evalmpi::ops::cuda

#pragma once

// Which experts a row takes (ops/experts.h says the rule), and the rows of each expert, by counting: no atomics.

#include "route_call.h"
#include "rows.cuh"

namespace evalmpi::ops::cuda {

// Whether value `a` of number `i` comes before value `b` of number `j`: larger first, the lower number on ties. A NaN
// comes before numbers, so that it is chosen and shows.
__device__ inline bool comes_before(float a, int i, float b, int j) {
  const bool a_is_nan = a != a, b_is_nan = b != b;
  if (a_is_nan != b_is_nan) return a_is_nan;
  return a_is_nan || a == b ? i < j : a > b;
}

// How many of values[begin .. end) come before values[at].
__device__ inline int rank_among(const float* values, int begin, int end, int at) {
  int rank = 0;
  for (int i = begin; i < end; ++i) rank += i != at && comes_before(values[i], i, values[at], at) ? 1 : 0;
  return rank;
}

constexpr int64_t route_shared_floats(int64_t experts, int64_t groups) { return 3 * experts + groups + kRowThreads; }

// Block r: row r. Ranks are counted, so that each thread places its experts by itself; sums run in a fixed order.
static __global__ void route_rows(RouteCall call) {
  const int E = call.experts, group_size = E / call.groups;
  float* scores = reinterpret_cast<float*>(shared_memory);
  float* choice = scores + E;  // what experts are chosen by
  float* kept = choice + E;    // the same, 0 for experts of groups that are left out
  float* group_choice = kept + E;
  float* scratch = group_choice + call.groups;
  const float* logits = call.logits + static_cast<int64_t>(blockIdx.x) * E;
  float largest = -INFINITY;
  for (int i = 0; i < E; ++i) largest = logits[i] > largest || logits[i] != logits[i] ? logits[i] : largest;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < E; i += kRowThreads) {
    scores[i] = call.is_sigmoid ? 1.0f / (1.0f + expf(-logits[i])) : expf(logits[i] - largest);
    sum += scores[i];
  }
  sum = row_sum(sum, scratch);
  for (int i = threadIdx.x; i < E; i += kRowThreads) {
    if (!call.is_sigmoid) scores[i] /= sum;
    choice[i] = call.correction == nullptr ? scores[i] : scores[i] + call.correction[i];
  }
  __syncthreads();
  if (call.groups > call.groups_per_token) {
    for (int g = threadIdx.x; g < call.groups; g += kRowThreads) {
      float best = 0.0f;
      // In order of ranks, as the sum of the largest is.
      for (int rank = 0; rank < call.group_best; ++rank) {
        for (int i = g * group_size; i < (g + 1) * group_size; ++i)
          if (rank_among(choice, g * group_size, (g + 1) * group_size, i) == rank) best += choice[i];
      }
      group_choice[g] = best;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < E; i += kRowThreads) {
      const int rank = rank_among(group_choice, 0, call.groups, i / group_size);
      kept[i] = rank < call.groups_per_token ? choice[i] : 0.0f;
    }
    __syncthreads();
    choice = kept;
  }
  int32_t* chosen = call.chosen + static_cast<int64_t>(blockIdx.x) * call.per_token;
  float* weights = call.weights + static_cast<int64_t>(blockIdx.x) * call.per_token;
  for (int i = threadIdx.x; i < E; i += kRowThreads) {
    const int rank = rank_among(choice, 0, E, i);
    if (rank >= call.per_token) continue;
    chosen[rank] = i;
    weights[rank] = scores[i];
    scratch[rank] = scores[i];
  }
  __syncthreads();
  if (threadIdx.x >= static_cast<unsigned>(call.per_token)) return;
  float total = 0.0f;
  for (int k = 0; k < call.per_token; ++k) total += scratch[k];
  const float weight = scratch[threadIdx.x];
  weights[threadIdx.x] = (call.renormalise ? weight / (total + 1e-20f) : weight) * call.scale;
}

// The number of threads before this one whose `is_one` holds, and of all; `scratch` holds kRowThreads ints.
struct Ranked {
  int32_t before, all;
};
__device__ inline Ranked rank_of_thread(bool is_one, int32_t* scratch) {
  __syncthreads();
  scratch[threadIdx.x] = is_one ? 1 : 0;
  __syncthreads();
  for (int step = 1; step < kRowThreads; step *= 2) {
    const int32_t below = static_cast<int>(threadIdx.x) >= step ? scratch[threadIdx.x - step] : 0;
    __syncthreads();
    scratch[threadIdx.x] += below;
    __syncthreads();
  }
  return {scratch[threadIdx.x] - (is_one ? 1 : 0), scratch[kRowThreads - 1]};
}

// Block e: how many entries chose expert e.
static __global__ void count_expert(const int32_t* chosen, int64_t entries, int32_t* counts) {
  float* scratch = reinterpret_cast<float*>(shared_memory);
  int32_t count = 0;
  for (int64_t i = threadIdx.x; i < entries; i += kRowThreads) count += chosen[i] == static_cast<int32_t>(blockIdx.x);
  // Exact: a call has fewer than 2^24 entries.
  const float all = row_sum(static_cast<float>(count), scratch);
  if (threadIdx.x == 0) counts[blockIdx.x] = static_cast<int32_t>(all);
}

// Block e: the rows of expert e, ascending, behind those of the experts before it.
static __global__ void sort_expert(SortCall call) {
  int32_t* scratch = reinterpret_cast<int32_t*>(shared_memory);
  int32_t begin = 0;
  for (unsigned e = 0; e < blockIdx.x; ++e) begin += call.counts[e];
  for (int64_t first = 0; first < call.entries; first += kRowThreads) {
    const int64_t i = first + threadIdx.x;
    const bool is_mine = i < call.entries && call.chosen[i] == static_cast<int32_t>(blockIdx.x);
    const Ranked ranked = rank_of_thread(is_mine, scratch);
    if (is_mine) {
      call.rows[begin + ranked.before] = static_cast<int32_t>(i / call.per_token);
      call.sorted_weights[begin + ranked.before] = call.weights[i];
    }
    begin += ranked.all;
  }
}

}  // namespace evalmpi::ops::cuda

#pragma once

// What the kernels that choose experts are given.

#include <cstdint>

namespace evalmpi::ops::cuda {

constexpr int kMostExpertsPerToken = 32;

struct RouteCall {
  const float* logits;      // [rows][experts]
  const float* correction;  // [experts], or null
  int64_t rows;
  int32_t experts, per_token, groups, groups_per_token, group_best;
  float scale;
  bool is_sigmoid, renormalise;
  int32_t* chosen;  // [rows][per_token]: the experts of a row
  float* weights;   // [rows][per_token]
};

// Entry i is of row i / per_token.
struct SortCall {
  const int32_t* chosen;
  const float* weights;
  const int32_t* counts;  // [experts]
  int64_t entries;
  int32_t experts, per_token;
  int32_t* rows;          // [entries]: rows by expert, then ascending
  float* sorted_weights;  // [entries]
};

}  // namespace evalmpi::ops::cuda

#pragma once

// The linear layer: rows of x packed per block of K, panels of weights streamed past them.

#include "cpu/product.h"

namespace evalmpi::ops {
namespace {

// Panels between which the tiles of packed rows are gone through again: their block of weights stays in cache.
constexpr int64_t kStrip = 4;

// Valid columns of panel p.
inline int64_t columns_of(const GemmTask& t, int64_t p) {
  const int64_t left = t.columns - p * kPanel;
  return left < kPanel ? left : kPanel;
}

inline void pack_rows(const float* x, int64_t rows, int64_t x_step, int64_t depth, float* packed) {
  for (int64_t r = 0; r < rows; ++r) __builtin_memcpy(packed + r * kBlockStride, x + r * x_step, sizeof(float) * depth);
}

inline void add_bias(const float* bias, int rows, int64_t columns, float* y, int64_t y_step) {
  for (int r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; c += kPanel) {
      float* out = y + r * y_step + c;
      store_first(out, load_first(out, columns - c) + load_first(bias + c, columns - c), columns - c);
    }
}

// The last panel may reach beyond the last column, so it goes through a tile of its own.
template <class Weight>
void multiply_partial_panel(int rows, Product<Weight> p, int64_t columns, float* tile) {
  float* y = p.out;
  const int64_t y_step = p.out_step;
  for (int r = 0; p.add && r < rows; ++r) store(tile + r * kPanel, load_first(y + r * y_step, columns));
  p.panels = 1;
  p.out = tile;
  p.out_step = kPanel;
  multiply<false>(rows, p);
  for (int r = 0; r < rows; ++r) store_first(y + r * y_step, load(tile + r * kPanel), columns);
}

template <class Weight>
void gemm_block(const GemmTask& t, const Weight* panels, int64_t row_begin, int64_t row_end, int64_t k_begin) {
  const int64_t rows = row_end - row_begin;
  const int64_t depth = t.depth - k_begin < kBlock ? t.depth - k_begin : kBlock;
  const bool last = k_begin + depth == t.depth;
  float* packed = t.scratch;
  float* partial = packed + rows * kBlockStride;
  pack_rows(t.x + row_begin * t.depth + k_begin, rows, t.depth, depth, packed);
  const Tiling tiling(rows);
  for (int64_t panel = t.panel_begin; panel < t.panel_end; panel += kStrip) {
    const int64_t end = panel + kStrip < t.panel_end ? panel + kStrip : t.panel_end;
    const int64_t full_end = columns_of(t, end - 1) == kPanel ? end : end - 1;
    for (int64_t tile = 0; tile < tiling.tiles; ++tile) {
      const int size = tiling.size(tile);
      float* y = t.y + (row_begin + tiling.begin(tile)) * t.y_step + (panel - t.panel_begin) * kPanel;
      Product<Weight> p = {.a = packed + tiling.begin(tile) * kBlockStride,
                           .b = panels + (panel * t.depth + k_begin) * kPanel,
                           .k_step = kPanel,
                           .panel_step = t.depth * kPanel,
                           .depth = depth,
                           .panels = full_end - panel,
                           .out = y,
                           .out_step = t.y_step,
                           .add = k_begin > 0,
                           .full_begin = 0,
                           .full_end = depth};
      multiply<false>(size, p);
      if (full_end < end) {
        p.b += (full_end - panel) * p.panel_step;
        p.out += (full_end - panel) * kPanel;
        multiply_partial_panel(size, p, columns_of(t, full_end), partial);
      }
      if (last && t.bias != nullptr)
        add_bias(t.bias + panel * kPanel, size, (end - 1 - panel) * kPanel + columns_of(t, end - 1), y, t.y_step);
    }
  }
}

inline void gemm_without_terms(const GemmTask& t) {
  const int64_t first = t.panel_begin * kPanel;
  const int64_t end = t.panel_end * kPanel < t.columns ? t.panel_end * kPanel : t.columns;
  for (int64_t r = 0; r < t.rows; ++r)
    for (int64_t c = first; c < end; ++c) t.y[r * t.y_step + c - first] = t.bias != nullptr ? t.bias[c] : 0.0f;
}

template <class Weight>
void gemm_of(const GemmTask& t) {
  for (int64_t row = 0; row < t.rows; row += kRowBlock) {
    const int64_t row_end = row + kRowBlock < t.rows ? row + kRowBlock : t.rows;
    for (int64_t k = 0; k < t.depth; k += kBlock) gemm_block(t, static_cast<const Weight*>(t.panels), row, row_end, k);
  }
}

void gemm(const GemmTask& t) {
  if (t.depth == 0) return gemm_without_terms(t);
  switch (t.type) {
    case WeightType::kFloat32: return gemm_of<float>(t);
    case WeightType::kBFloat16: return gemm_of<BFloat16>(t);
    case WeightType::kFloat16: return gemm_of<Float16>(t);
  }
}

}  // namespace
}  // namespace evalmpi::ops

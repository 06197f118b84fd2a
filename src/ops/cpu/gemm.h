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

// Rows [row, row + rows) of x and a few successive blocks of K, packed: block b at packed + b * rows * kBlockStride.
// Few rows take many blocks, so that a panel is read from its first to its last term; many rows take fewer.
struct PackedRows {
  int64_t row, rows;
  int64_t k_begin, k_end;
  float* packed;
};

inline void pack_rows(const GemmTask& t, const PackedRows& x) {
  float* packed = x.packed;
  for (int64_t k = x.k_begin; k < x.k_end; k += kBlock)
    for (int64_t r = 0; r < x.rows; ++r, packed += kBlockStride) {
      const int64_t depth = x.k_end - k < kBlock ? x.k_end - k : kBlock;
      __builtin_memcpy(packed, t.x + (x.row + r) * t.depth + k, sizeof(float) * static_cast<uint64_t>(depth));
    }
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

// All packed terms of one tile of rows for the panels [panel, end): its outputs stay in the first cache meanwhile
// (with the loops over tiles inside those over blocks of K: 91 instead of 97 GFLOP/s at 1,024 rows).
template <class Weight>
void multiply_tile_by_strip(const GemmTask& t, const PackedRows& x, int64_t begin, int rows, int64_t panel,
                            int64_t end) {
  const int64_t columns = (end - 1 - panel) * kPanel + columns_of(t, end - 1);
  const int64_t full_end = columns % kPanel == 0 ? end : end - 1;
  float* y = t.y + (x.row + begin) * t.y_step + (panel - t.panel_begin) * kPanel;
  const float* packed = x.packed + begin * kBlockStride;
  for (int64_t k = x.k_begin; k < x.k_end; k += kBlock, packed += x.rows * kBlockStride) {
    const int64_t depth = x.k_end - k < kBlock ? x.k_end - k : kBlock;
    Product<Weight> p = {.a = packed,
                         .b = static_cast<const Weight*>(t.panels) + (panel * t.depth + k) * kPanel,
                         .k_step = kPanel,
                         .panel_step = t.depth * kPanel,
                         .depth = depth,
                         .panels = full_end - panel,
                         .out = y,
                         .out_step = t.y_step,
                         .add = k > 0,
                         .full_begin = 0,
                         .full_end = depth};
    multiply<false>(rows, p);
    if (full_end < end) {
      p.b += (full_end - panel) * p.panel_step;
      p.out += (full_end - panel) * kPanel;
      multiply_partial_panel(rows, p, columns_of(t, full_end), t.scratch);
    }
  }
  if (x.k_end == t.depth && t.bias != nullptr) add_bias(t.bias + panel * kPanel, rows, columns, y, t.y_step);
}

template <class Weight>
void multiply_packed(const GemmTask& t, const PackedRows& x) {
  const Tiling tiling(x.rows);
  for (int64_t panel = t.panel_begin; panel < t.panel_end; panel += kStrip) {
    const int64_t end = panel + kStrip < t.panel_end ? panel + kStrip : t.panel_end;
    for (int64_t tile = 0; tile < tiling.tiles; ++tile)
      multiply_tile_by_strip<Weight>(t, x, tiling.begin(tile), tiling.size(tile), panel, end);
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
    const int64_t rows = t.rows - row < kRowBlock ? t.rows - row : kRowBlock;
    const int64_t k_step = kPackedBlocks / rows * kBlock;
    for (int64_t k = 0; k < t.depth; k += k_step) {
      const PackedRows x = {.row = row,
                            .rows = rows,
                            .k_begin = k,
                            .k_end = k + k_step < t.depth ? k + k_step : t.depth,
                            .packed = t.scratch + kMaxTileRows * kPanel};
      pack_rows(t, x);
      multiply_packed<Weight>(t, x);
    }
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

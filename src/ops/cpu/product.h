#pragma once

// The one inner loop: out[r][c] (+)= sum over k of a[r][k] * b[k][c], for a tile of rows and a few panels of 16
// columns, each output one chain of fused multiply-adds in ascending k. Linear layers, attention scores and the
// weighted sum of values all run on it, so how rows are tiled never shows in the bits.

#include "cpu/functions.h"

namespace evalmpi::ops {
namespace {

template <class Weight>
struct Product {
  const float* a;   // [rows][kBlockStride]
  const Weight* b;  // column j of panel p at k: b[p * panel_step + k * k_step + j]
  int64_t k_step, panel_step;
  int64_t depth;  // terms, at most kBlock
  int64_t panels;
  float* out;  // out[r * out_step + 16 * p + j]
  int64_t out_step;
  bool add;  // to out, else replace it
  // Terms before full_begin and from full_end on leave out a row whose a is negative (PV with masked positions).
  int64_t full_begin, full_end;
};

constexpr int panels_at_once(int rows) { return 4 * rows <= kTileVectors ? 4 : 2 * rows <= kTileVectors ? 2 : 1; }

// Terms that b is fetched ahead: 78 -> 108 GFLOP/s at 9 rows with the weight in the last-level cache.
constexpr int64_t kAhead = 16;

template <int kRows, int kPanels, bool kMasked, class Weight>
EVALMPI_LANES void accumulate(Lanes (&sum)[kRows][kPanels], const Product<Weight>& p, int64_t begin, int64_t end) {
  const float* a = p.a + begin;
  const Weight* b = p.b + begin * p.k_step;
  for (int64_t k = begin; k < end; ++k, ++a, b += p.k_step) {
    Lanes columns[kPanels];
#pragma GCC unroll 16
    for (int c = 0; c < kPanels; ++c) {
      columns[c] = load(b + c * p.panel_step);
      __builtin_prefetch(b + c * p.panel_step + kAhead * p.k_step);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      if (kMasked && a[r * kBlockStride] < 0.0f) continue;
      const Lanes factor = splat(a[r * kBlockStride]);
#pragma GCC unroll 16
      for (int c = 0; c < kPanels; ++c) sum[r][c] = fma(factor, columns[c], sum[r][c]);
    }
  }
}

template <int kRows, int kPanels, bool kMasked, class Weight>
void multiply_tile(const Product<Weight>& p) {
  Lanes sum[kRows][kPanels];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int c = 0; c < kPanels; ++c) sum[r][c] = splat(0.0f);
  if constexpr (kMasked) {
    accumulate<kRows, kPanels, true>(sum, p, 0, p.full_begin);
    accumulate<kRows, kPanels, false>(sum, p, p.full_begin, p.full_end);
    accumulate<kRows, kPanels, true>(sum, p, p.full_end, p.depth);
  } else {
    accumulate<kRows, kPanels, false>(sum, p, 0, p.depth);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int c = 0; c < kPanels; ++c) {
      float* out = p.out + r * p.out_step + c * kPanel;
      store(out, p.add ? load(out) + sum[r][c] : sum[r][c]);
    }
}

template <int kRows, bool kMasked, class Weight>
void multiply_rows(Product<Weight> p) {
  constexpr int kTogether = panels_at_once(kRows);
  int64_t left = p.panels;
  for (; left >= kTogether; left -= kTogether, p.b += kTogether * p.panel_step, p.out += kTogether * kPanel)
    multiply_tile<kRows, kTogether, kMasked>(p);
  for (; left > 0; --left, p.b += p.panel_step, p.out += kPanel) multiply_tile<kRows, 1, kMasked>(p);
}

// 1 <= rows <= kTileRows.
template <bool kMasked, int kRows = kTileRows, class Weight>
void multiply(int rows, const Product<Weight>& p) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return multiply<kMasked, kRows - 1>(rows, p);
  }
  multiply_rows<kRows, kMasked>(p);
}

// Cuts `rows` into tiles of nearly equal size, at most kTileRows each: tile t begins at row begin(t).
struct Tiling {
  explicit Tiling(int64_t all_rows) : rows(all_rows), tiles((all_rows + kTileRows - 1) / kTileRows) {}
  int64_t begin(int64_t t) const { return t * rows / tiles; }
  int size(int64_t t) const { return static_cast<int>(begin(t + 1) - begin(t)); }
  int64_t rows, tiles;
};

}  // namespace
}  // namespace evalmpi::ops

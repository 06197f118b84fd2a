#pragma once

// Attention of one span's rows for one KV head. A tile of rows (tokens x query heads) has its whole score rows computed
// on the product kernel, then softmax along each row, then the weighted sum of values as ordered blocks of absolute
// positions. Positions that a row does not see are left out of its sums, never multiplied by zero: they may hold
// anything.

#include "cpu/product.h"

namespace evalmpi::ops {
namespace {

// Positions begin .. end - 1.
struct Range {
  int64_t begin, end;
};

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Rows [begin, begin + rows) of the span's tokens x heads, and where their intermediate results lie.
struct AttentionTile {
  const AttentionTask& task;
  int64_t begin;
  int rows;
  Range any;      // positions that some row sees
  Range all;      // positions that every row sees; may be empty
  float* query;   // [block of head_dim][row][kBlockStride], scaled
  float* scores;  // [block of positions from any.begin's][row][kBlockStride]
  float* totals;  // [row][value_step]

  int64_t token(int row) const { return (begin + row) / task.head_count; }
  int64_t head(int row) const { return task.heads[(begin + row) % task.head_count]; }
  Range seen(int row) const {
    const int64_t position = task.start + token(row);
    return {task.window > 0 ? larger(0, position - task.window + 1) : 0, position + 1};
  }
  int64_t first_block() const { return any.begin / kBlock; }
  int64_t end_block() const { return (any.end - 1) / kBlock + 1; }
  float* scores_of(int64_t block) const { return scores + (block - first_block()) * kTileRows * kBlockStride; }
};

inline void scale_queries(const AttentionTile& tile) {
  const AttentionTask& t = tile.task;
  for (int r = 0; r < tile.rows; ++r) {
    const float* q = t.q + tile.token(r) * t.q_step + tile.head(r) * t.head_dim;
    for (int64_t d = 0; d < t.head_dim; ++d)
      tile.query[(d / kBlock * kTileRows + r) * kBlockStride + d % kBlock] = q[d] * t.scale;
  }
}

inline void compute_scores(const AttentionTile& tile) {
  const AttentionTask& t = tile.task;
  for (int64_t block = tile.first_block(); block < tile.end_block(); ++block) {
    constexpr int64_t kPanelsPerBlock = kBlock / kPanel;
    const int64_t panel = larger(tile.any.begin / kPanel, block * kPanelsPerBlock);
    const int64_t end = smaller((tile.any.end - 1) / kPanel + 1, (block + 1) * kPanelsPerBlock);
    for (int64_t d = 0; d < t.head_dim; d += kBlock) {
      const int64_t depth = smaller(kBlock, t.head_dim - d);
      multiply<false>(tile.rows,
                      Product<float>{.a = tile.query + d * kTileRows / kBlock * kBlockStride,
                                     .b = t.keys + (panel * t.head_dim + d) * kPanel,
                                     .k_step = kPanel,
                                     .panel_step = t.head_dim * kPanel,
                                     .depth = depth,
                                     .panels = end - panel,
                                     .out = tile.scores_of(block) + (panel - block * kPanelsPerBlock) * kPanel,
                                     .out_step = kBlockStride,
                                     .add = d > 0,
                                     .full_begin = 0,
                                     .full_end = depth});
    }
  }
}

// The scores of one row, by panels of 16 positions, and which of them the row sees.
struct ScoreRow {
  const AttentionTile& tile;
  int row;
  Range seen;

  float* at(int64_t position) const {
    return tile.scores_of(position / kBlock) + row * kBlockStride + position % kBlock;
  }
  bool sees_all(int64_t position) const { return position >= seen.begin && position + kPanel <= seen.end; }
  Mask mask(int64_t position) const {
    return but_not(first_lanes(larger(0, seen.end - position)), first_lanes(larger(0, seen.begin - position)));
  }
};

// cap * tanh(score / cap), then the bias of the key's position.
inline void adjust(const AttentionTile& tile, const ScoreRow& scores) {
  const AttentionTask& t = tile.task;
  const int64_t begin = tile.any.begin / kPanel * kPanel, end = tile.any.end;
  for (int64_t position = begin; t.soft_cap > 0.0f && position < end; position += kPanel) {
    float* p = scores.at(position);
    store(p, splat(t.soft_cap) * tanh(load(p) / splat(t.soft_cap)));
  }
  for (int64_t position = begin; t.bias != nullptr && position < end; position += kPanel) {
    float* p = scores.at(position);
    store(p, load(p) + load_first(t.bias + tile.head(scores.row) * t.bias_step + position, end - position));
  }
}

// Scores become exp(score - largest), and -1 where the row does not see the position. Returns their sum, with the sink's
// share.
inline float soften(const AttentionTile& tile, int row) {
  const ScoreRow scores = {.tile = tile, .row = row, .seen = tile.seen(row)};
  const int64_t begin = tile.any.begin / kPanel * kPanel, end = tile.any.end;
  adjust(tile, scores);
  const float* sink = tile.task.sinks == nullptr ? nullptr : tile.task.sinks + tile.head(row);
  const Lanes lowest = splat(-__builtin_inff());
  Lanes largest = sink == nullptr ? lowest : splat(*sink), sum = splat(0.0f);
  for (int64_t position = begin; position < end; position += kPanel) {
    Lanes x = load(scores.at(position));
    if (!scores.sees_all(position)) x = select(scores.mask(position), x, lowest);
    largest = max(largest, x);
  }
  const Lanes reference = splat(max_lanes(largest));
  for (int64_t position = begin; position < end; position += kPanel) {
    float* p = scores.at(position);
    Lanes e = exp(load(p) - reference);
    if (scores.sees_all(position)) {
      store(p, e);
    } else {
      store(p, select(scores.mask(position), e, splat(-1.0f)));
      e = select(scores.mask(position), e, splat(0.0f));
    }
    sum = sum + e;
  }
  if (sink == nullptr) return sum_lanes(sum);
  float share[kPanel];
  store(share, exp(splat(*sink) - reference));
  return sum_lanes(sum) + share[0];
}

inline void weigh_values(const AttentionTile& tile) {
  const AttentionTask& t = tile.task;
  for (int64_t i = 0; i < tile.rows * t.value_step; i += kPanel) store(tile.totals + i, splat(0.0f));
  for (int64_t block = tile.first_block(); block < tile.end_block(); ++block) {
    const int64_t begin = larger(tile.any.begin, block * kBlock), end = smaller(tile.any.end, (block + 1) * kBlock);
    const int64_t full_begin = smaller(larger(tile.all.begin, begin), end);
    const int64_t full_end = larger(smaller(tile.all.end, end), full_begin);
    multiply<true>(tile.rows, Product<float>{.a = tile.scores_of(block) + begin % kBlock,
                                             .b = t.values + begin * t.value_step,
                                             .k_step = t.value_step,
                                             .panel_step = kPanel,
                                             .depth = end - begin,
                                             .panels = t.value_step / kPanel,
                                             .out = tile.totals,
                                             .out_step = t.value_step,
                                             .add = true,
                                             .full_begin = full_begin - begin,
                                             .full_end = full_end - begin});
  }
}

inline void write_rows(const AttentionTile& tile, const float* sums) {
  const AttentionTask& t = tile.task;
  for (int r = 0; r < tile.rows; ++r) {
    float* out = t.out + tile.token(r) * t.out_step + tile.head(r) * t.value_dim;
    for (int64_t d = 0; d < t.value_dim; d += kPanel)
      store_first(out + d, load(tile.totals + r * t.value_step + d) / splat(sums[r]), t.value_dim - d);
  }
}

void attend(const AttentionTask& t) {
  const Tiling tiling(t.length * t.head_count);
  for (int64_t i = 0; i < tiling.tiles; ++i) {
    AttentionTile tile = {.task = t,
                          .begin = tiling.begin(i),
                          .rows = tiling.size(i),
                          .any = {},
                          .all = {},
                          .query = t.scratch,
                          .scores = nullptr,
                          .totals = nullptr};
    const Range first = tile.seen(0), last = tile.seen(tile.rows - 1);
    tile.any = {first.begin, last.end};
    tile.all = {last.begin, first.end};
    tile.totals = tile.query + (t.head_dim / kBlock + 1) * kTileRows * kBlockStride;
    tile.scores = tile.totals + kTileRows * t.value_step;
    float sums[kTileRows];
    scale_queries(tile);
    compute_scores(tile);
    for (int r = 0; r < tile.rows; ++r) sums[r] = soften(tile, r);
    weigh_values(tile);
    write_rows(tile, sums);
  }
}

}  // namespace
}  // namespace evalmpi::ops

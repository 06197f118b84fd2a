#pragma once

// Attention for one KV head. A tile of rows (tokens x query heads, of one path or of several) has its whole score rows
// computed on the product kernel, then softmax along each row, then the weighted sum of values as ordered blocks of
// absolute positions. Positions that a row does not see are left out of its sums, never multiplied by zero: they may
// hold anything. What all paths share is whole blocks, so that it is read once for a tile and a row's sums stay the
// same.

#include "cpu/product.h"

namespace evalmpi::ops {
namespace {

// Positions begin .. end - 1.
struct Range {
  int64_t begin, end;
};

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline Range both(Range a, Range b) { return {larger(a.begin, b.begin), smaller(a.end, b.end)}; }

struct AttentionRow {
  const float* q;
  float* out;
  int64_t head;
  Range seen;
};

// Rows [begin, end) of a tile that read the same positions [first, last) from the same place.
struct AttentionRows {
  int begin, end;
  Range any;       // positions of these that some row sees
  Range all;       // positions that every row sees; may be empty
  int64_t origin;  // the position that `keys` and `values` begin with, a multiple of kBlock
  const float* keys;
  const float* values;
};

struct AttentionTile {
  const AttentionTask& task;
  int rows = 0;
  int64_t first = 0;  // the first position that some row sees
  AttentionRow row[kTileRows];
  int group_count = 0;
  AttentionRows group[kTileRows + 1];  // what all rows share, then the rows of each part
  float* query = nullptr;              // [block of head_dim][row][kBlockStride], scaled
  float* totals = nullptr;             // [row][value_step]
  float* scores = nullptr;             // [block of positions from that of `first` on][row][kBlockStride]

  float* scores_of(int64_t block) const { return scores + (block - first / kBlock) * kTileRows * kBlockStride; }
};

inline AttentionRow row_of(const AttentionTask& t, const AttentionPart& part, int64_t at) {
  const int64_t token = at / t.head_count, head = t.heads[at % t.head_count], position = part.start + token;
  return {.q = part.q + token * t.q_step + head * t.head_dim,
          .out = part.out + token * t.out_step + head * t.value_dim,
          .head = head,
          .seen = {t.window > 0 ? larger(0, position - t.window + 1) : 0, position + 1}};
}

// Adds rows [begin, end) of the tile as a group that reads `positions`; none where no row sees any of them.
inline void add_group(AttentionTile& tile, int begin, int end, Range positions, const float* keys,
                      const float* values) {
  const Range first = tile.row[begin].seen;
  AttentionRows group = {.begin = begin,
                         .end = end,
                         .any = first,
                         .all = first,
                         .origin = positions.begin,
                         .keys = keys,
                         .values = values};
  for (int r = begin + 1; r < end; ++r) {
    const Range seen = tile.row[r].seen;
    group.any = {smaller(group.any.begin, seen.begin), larger(group.any.end, seen.end)};
    group.all = both(group.all, seen);
  }
  group.any = both(group.any, positions);
  group.all = both(group.all, positions);
  if (group.any.begin < group.any.end) tile.group[tile.group_count++] = group;
}

// Where the next tile begins.
struct TileCursor {
  int64_t part = 0;
  int64_t row = 0;  // of the part: tokens x heads
};

inline void fill_rows(AttentionTile& tile, int rows, TileCursor& cursor) {
  const AttentionTask& t = tile.task;
  const Range own = {t.shared, INT64_MAX};
  int part_begin[kTileRows + 1];
  const AttentionPart* part_of[kTileRows];
  int parts = 0;
  while (tile.rows < rows) {
    const AttentionPart& part = t.parts[cursor.part];
    const int64_t left = part.length * t.head_count - cursor.row;
    if (left > 0) {
      part_begin[parts] = tile.rows;
      part_of[parts++] = &part;
    }
    const int taken = static_cast<int>(smaller(left, rows - tile.rows));
    for (int i = 0; i < taken; ++i) tile.row[tile.rows++] = row_of(t, part, cursor.row++);
    if (taken == left) cursor = {.part = cursor.part + 1};
  }
  part_begin[parts] = rows;
  add_group(tile, 0, rows, {0, t.shared}, t.shared_keys, t.shared_values);
  for (int p = 0; p < parts; ++p)
    add_group(tile, part_begin[p], part_begin[p + 1], own, part_of[p]->keys, part_of[p]->values);
  tile.first = tile.row[0].seen.begin;
  for (int r = 1; r < rows; ++r) tile.first = smaller(tile.first, tile.row[r].seen.begin);
}

inline void scale_queries(const AttentionTile& tile) {
  const AttentionTask& t = tile.task;
  for (int r = 0; r < tile.rows; ++r)
    for (int64_t d = 0; d < t.head_dim; ++d)
      tile.query[(d / kBlock * kTileRows + r) * kBlockStride + d % kBlock] = tile.row[r].q[d] * t.scale;
}

inline void compute_scores(const AttentionTile& tile, const AttentionRows& group) {
  constexpr int64_t kPanelsPerBlock = kBlock / kPanel;
  const AttentionTask& t = tile.task;
  for (int64_t block = group.any.begin / kBlock; block * kBlock < group.any.end; ++block) {
    const int64_t panel = larger(group.any.begin / kPanel, block * kPanelsPerBlock);
    const int64_t end = smaller((group.any.end - 1) / kPanel + 1, (block + 1) * kPanelsPerBlock);
    for (int64_t d = 0; d < t.head_dim; d += kBlock) {
      const int64_t depth = smaller(kBlock, t.head_dim - d);
      multiply<false>(group.end - group.begin,
                      Product<float>{.a = tile.query + (d / kBlock * kTileRows + group.begin) * kBlockStride,
                                     .b = group.keys + ((panel - group.origin / kPanel) * t.head_dim + d) * kPanel,
                                     .k_step = kPanel,
                                     .panel_step = t.head_dim * kPanel,
                                     .depth = depth,
                                     .panels = end - panel,
                                     .out = tile.scores_of(block) + group.begin * kBlockStride +
                                            (panel - block * kPanelsPerBlock) * kPanel,
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
  // Whole panels up to the end of what the row sees, from the first that any row sees: products of values leave out
  // what is marked here, and no row is marked further than its group reaches.
  Range marked;

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
  const Range marked = scores.marked;
  for (int64_t position = marked.begin; t.soft_cap > 0.0f && position < marked.end; position += kPanel) {
    float* p = scores.at(position);
    store(p, splat(t.soft_cap) * tanh(load(p) / splat(t.soft_cap)));
  }
  for (int64_t position = marked.begin; t.bias != nullptr && position < marked.end; position += kPanel) {
    float* p = scores.at(position);
    const float* bias = t.bias + tile.row[scores.row].head * t.bias_step + position;
    store(p, load(p) + load_first(bias, marked.end - position));
  }
}

// Scores become exp(score - largest), and -1 where the row does not see the position. Returns their sum, with the
// sink's share.
inline float soften(const AttentionTile& tile, int row, int64_t end) {
  const ScoreRow scores = {
      .tile = tile, .row = row, .seen = tile.row[row].seen, .marked = {tile.first / kPanel * kPanel, end}};
  const int64_t begin = scores.marked.begin;
  adjust(tile, scores);
  const float* sink = tile.task.sinks == nullptr ? nullptr : tile.task.sinks + tile.row[row].head;
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

inline void weigh_values(const AttentionTile& tile, const AttentionRows& group) {
  const AttentionTask& t = tile.task;
  for (int64_t block = group.any.begin / kBlock; block * kBlock < group.any.end; ++block) {
    const int64_t begin = larger(group.any.begin, block * kBlock), end = smaller(group.any.end, (block + 1) * kBlock);
    const int64_t full_begin = smaller(larger(group.all.begin, begin), end);
    const int64_t full_end = larger(smaller(group.all.end, end), full_begin);
    multiply<true>(group.end - group.begin,
                   Product<float>{.a = tile.scores_of(block) + group.begin * kBlockStride + begin % kBlock,
                                  .b = group.values + (begin - group.origin) * t.value_step,
                                  .k_step = t.value_step,
                                  .panel_step = kPanel,
                                  .depth = end - begin,
                                  .panels = t.value_step / kPanel,
                                  .out = tile.totals + group.begin * t.value_step,
                                  .out_step = t.value_step,
                                  .add = true,
                                  .full_begin = full_begin - begin,
                                  .full_end = full_end - begin});
  }
}

inline void write_rows(const AttentionTile& tile, const float* sums) {
  const AttentionTask& t = tile.task;
  for (int r = 0; r < tile.rows; ++r)
    for (int64_t d = 0; d < t.value_dim; d += kPanel)
      store_first(tile.row[r].out + d, load(tile.totals + r * t.value_step + d) / splat(sums[r]), t.value_dim - d);
}

void attend(const AttentionTask& t) {
  int64_t rows = 0;
  for (int64_t p = 0; p < t.part_count; ++p) rows += t.parts[p].length * t.head_count;
  const Tiling tiling(rows);
  TileCursor cursor;
  for (int64_t i = 0; i < tiling.tiles; ++i) {
    AttentionTile tile = {.task = t, .row = {}, .group = {}};
    fill_rows(tile, tiling.size(i), cursor);
    tile.query = t.scratch;
    tile.totals = tile.query + (t.head_dim / kBlock + 1) * kTileRows * kBlockStride;
    tile.scores = tile.totals + kTileRows * t.value_step;
    scale_queries(tile);
    for (int64_t d = 0; d < tile.rows * t.value_step; d += kPanel) store(tile.totals + d, splat(0.0f));
    for (int g = 0; g < tile.group_count; ++g) compute_scores(tile, tile.group[g]);
    float sums[kTileRows];
    // A row's last group is that of its part, which reaches at least to the row's own position.
    for (int g = 0; g < tile.group_count; ++g) {
      const AttentionRows& group = tile.group[g];
      const bool is_last = group.any.end > t.shared;
      for (int r = group.begin; is_last && r < group.end; ++r) sums[r] = soften(tile, r, group.any.end);
    }
    for (int g = 0; g < tile.group_count; ++g) weigh_values(tile, tile.group[g]);
    write_rows(tile, sums);
  }
}

}  // namespace
}  // namespace evalmpi::ops

#pragma once

// The CPU kernels behind ops, as a table of plain functions on raw pointers. Every instruction set has such a
// table and all give the same bits: a vector is always 16 float lanes (one zmm, two ymm, or an array), sums run
// over these lanes by absolute index and combine in one fixed order, products are explicit fused multiply-adds.
//
// This header is compiled under several instruction sets, so it holds declarations and constants only.

#include <cstdint>

#include "evalmpi/ops/activation.h"

namespace evalmpi::ops {

// Columns of a weight panel, positions of a key panel, and virtual lanes of every vector.
inline constexpr int64_t kPanel = 16;
// Terms of one chain of fused multiply-adds; longer dot products are ordered sums of such chains.
inline constexpr int64_t kBlock = 256;
// Floats between rows of a packed block: not a multiple of 1 KiB, so that rows fall into different cache sets.
inline constexpr int64_t kBlockStride = kBlock + 16;
// Rows of x that are packed together, and the most rows times blocks of K: these stay in the second cache.
inline constexpr int64_t kRowBlock = 168;
inline constexpr int64_t kPackedBlocks = 4 * kRowBlock;
// Query rows that attend together, at most, in any table.
inline constexpr int64_t kMaxTileRows = 14;
// Vocabulary columns summarised together, counted from the shard's start.
inline constexpr int64_t kHeadBlock = 2048;

enum class WeightType : int32_t { kFloat32, kBFloat16, kFloat16 };

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

// y[rows, columns of panels begin..end) = x W^T + bias.
struct GemmTask {
  const float* x;  // [rows, depth], contiguous
  int64_t rows, depth;
  const void* panels;  // [panel][depth][16]
  WeightType type;
  int64_t panel_begin, panel_end;
  int64_t columns;    // out features of the whole weight; the last panel may be partly padding
  const float* bias;  // [columns] or null
  float* y;           // y[row * y_step + column - 16 * panel_begin]
  int64_t y_step;
  float* scratch;  // gemm_scratch_floats(rows, depth)
};

constexpr int64_t gemm_scratch_floats(int64_t rows, int64_t depth) {
  const int64_t blocks = (depth + kBlock - 1) / kBlock, packed = (rows < kRowBlock ? rows : kRowBlock) * blocks;
  return (packed < kPackedBlocks ? packed : kPackedBlocks) * kBlockStride + kMaxTileRows * kPanel;
}

// Rows that continue one path.
struct AttentionPart {
  const float* q;         // [length][q_step], head h at offset h * head_dim
  float* out;             // [length][out_step], head h at offset h * value_dim
  const float* keys;      // [panel of positions][head_dim][16], from position AttentionTask::shared on
  const float* values;    // [position][value_step], from there on too
  int64_t start, length;  // absolute position of row 0, at least `shared`; rows
};

// Rows of several paths, and the query heads of one KV head. Positions below `shared` are the same for all of them.
struct AttentionTask {
  const AttentionPart* parts;
  int64_t part_count;
  int64_t shared;              // a multiple of kBlock
  const float* shared_keys;    // as in a part
  const float* shared_values;  // as in a part
  int64_t q_step;
  const int32_t* heads;  // query heads that read this KV head
  int32_t head_count;
  int64_t head_dim;
  int64_t value_dim;
  int64_t value_step;  // value_dim rounded up to 16
  int64_t window;      // 0: all earlier positions
  float scale;
  float soft_cap;     // 0: none
  const float* bias;  // [query head][bias_step] by position of the key, or null
  int64_t bias_step;
  const float* sinks;  // [query head], or null
  int64_t out_step;
  float* scratch;  // attention_scratch_floats(the most positions that a row sees, head_dim, value_dim)
};

constexpr int64_t attention_scratch_floats(int64_t positions, int64_t head_dim, int64_t value_dim) {
  const int64_t score_blocks = positions / kBlock + 2, query_blocks = head_dim / kBlock + 1;
  return kMaxTileRows * ((score_blocks + query_blocks) * kBlockStride + value_dim + kPanel);
}

// What one row of logits says: largest, sum of exp(logit - largest), index of the first largest. A NaN among
// the logits makes max and sum NaN.
struct RowSummary {
  float max, sum;
  int32_t argmax;
};

struct CpuKernels {
  const char* variant;
  void (*gemm)(const GemmTask&);
  void (*attend)(const AttentionTask&);
  // x, y [rows, width]; bias may be null.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t rows, int64_t width, float* y);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t rows, int64_t width,
                     float* y);
  // One token: heads of head_dim, the first 2 * half dimensions rotated by cos, sin [half].
  // The same with the mean of squares given: sum_of_squares / of_width.
  void (*square_sums)(const float* x, int64_t rows, int64_t width, float* sums);
  void (*scale_by_squares)(const float* x, const float* sums, int64_t of_width, const float* weight, float eps,
                           int64_t rows, int64_t width, float* y);
  // One token: of each of `heads` heads of head_dim, 2 * half dimensions from `first` on rotated by cos, sin [half];
  // pairs (i, i + half), or (2 i, 2 i + 1) where interleaved.
  void (*rotary)(const float* x, const float* cos, const float* sin, int64_t heads, int64_t head_dim, int64_t first,
                 int64_t half, float* y);
  void (*rotary_interleaved)(const float* x, const float* cos, const float* sin, int64_t heads, int64_t head_dim,
                             int64_t first, int64_t half, float* y);
  void (*activate)(Activation kind, const float* x, int64_t count, float* y);
  void (*activate_mul)(Activation kind, const float* gate, const float* up, int64_t count, float* y);
  // y = cap * tanh(scale * x / cap); scale * x for a cap of 0.
  void (*scale_and_cap)(const float* x, float scale, float cap, int64_t count, float* y);
  void (*exp)(const float* x, int64_t count, float* y);
  void (*summarise)(const float* logits, int64_t count, RowSummary* out);
};

// The tables; a table may only be called where the processor has its instructions.
const CpuKernels& portable_kernels();
const CpuKernels& avx2_kernels();
const CpuKernels& avx512_kernels();

}  // namespace evalmpi::ops

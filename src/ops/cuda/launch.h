#pragma once

// Starts the kernels (launch_*.cu) on raw pointers; for the files of ops that hold the tensors. Pointers are device
// memory, aligned to 16 bytes, row-major without gaps; `stream` is a cudaStream_t. Nothing waits for the device.
// FAILS: kUnavailable with CUDA's words when a kernel cannot be started.

#include <cstdint>

#include "attend_call.h"
#include "evalmpi/ops/activation.h"
#include "route_call.h"

namespace evalmpi::ops::cuda {

enum class DataType { kFloat32, kBFloat16, kFloat16 };

using Stream = void*;

struct NormCall {
  const void* x;
  DataType x_type;
  const float* weight;   // [weight_rows][width]: row r mod weight_rows for row r
  const float* bias;     // [width], or null
  const float* squares;  // [rows], sums of squares of rows of of_width values; null: of x itself
  int64_t rows, width, weight_rows, of_width;
  float eps;
  bool is_centred;
  void* y;
  DataType y_type;
};
void launch_norm(const NormCall& call, Stream stream);
void launch_square_sums(const void* x, DataType type, int64_t rows, int64_t width, float* sums, Stream stream);

struct RotaryCall {
  const void* x;
  const int32_t* positions;
  const float *cosines, *sines;  // [position][half]
  int64_t rows;
  int heads, head_dim, first, half;
  bool is_interleaved;
  void* y;
  DataType type;
};
void launch_rotary(const RotaryCall& call, Stream stream);

// activation(gate) * up, or activation(gate) where up is null.
void launch_activation(Activation kind, const void* gate, const void* up, int64_t count, void* y, DataType type,
                       Stream stream);
void launch_scale_and_cap(const float* x, float scale, float cap, int64_t count, float* y, Stream stream);

struct EmbeddingCall {
  const void* weight;
  DataType weight_type;
  const int32_t* ids;
  int64_t rows, first_id, vocabulary, width;
  float* y;
};
void launch_embedding(const EmbeddingCall& call, Stream stream);

// A tile of logits, [rows][width], that begins at row `first_row` and column `column`; what they become first.
struct LogitTile {
  const float* logits;
  int64_t rows, width;
  int32_t first_row, column;
  float scale, soft_cap;  // soft_cap 0: none
};
// Into summaries[first_row ..]; the tile of column 0 begins them.
void launch_summarise(const LogitTile& tile, RunningSummary* summaries, Stream stream);
// Writes the logits of the targets that the tile holds; the tile of column 0 and row 0 first writes -inf to all.
void launch_pick(const LogitTile& tile, const int32_t* row_of_target, const int32_t* column_of_target, int64_t targets,
                 float* target_logits, Stream stream);

void launch_route(const RouteCall& call, Stream stream);
// counts[expert] = its rows; then, once the host knows them, the rows themselves in order of experts.
void launch_count_experts(const int32_t* experts_TC, int64_t entries, int64_t experts, int32_t* counts, Stream stream);
void launch_sort_by_expert(const SortCall& call, Stream stream);
// sum[rows[i]] += weights[i] * y[i]
void launch_add_rows(float* sum, const int32_t* rows, const float* weights, const void* y, DataType y_type,
                     int64_t count, int64_t width, Stream stream);

struct StoreCall {
  const void *k, *v;
  const StoredRow* entries;
  int64_t count, key_width, value_width;
  void *stored_k, *stored_v;
  DataType type;
};
void launch_store(const StoreCall& call, Stream stream);

// Rows that share a block of attention: 1 for types and head sizes without a kernel on matrix units.
int attention_tile_rows(DataType type, int64_t head_dim, int64_t value_dim, int64_t most_query_heads_of_a_kv_head);

// call.tiles: `tiles` of at most `tile_rows` rows, as attention_tile_rows said for most_query_heads.
void launch_attention(const AttendCall<void>& call, int64_t tiles, int tile_rows, int64_t most_query_heads,
                      DataType type, Stream stream);

}  // namespace evalmpi::ops::cuda

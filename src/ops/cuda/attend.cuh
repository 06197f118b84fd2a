#pragma once

// Causal attention of new rows over stored and new keys and values.
//
// Keys are visited in tiles of kKeyTile absolute positions, in ascending order, with a running maximum and sum. A tile
// of which a row sees nothing leaves that row as it was, bit for bit, so that it does not matter which rows share a
// block: a row's bits depend on its query and on the keys and values at its own positions. Scores are in units of
// log(2), so that their exponential is exp2.

#include "attend_call.h"
#include "block.h"

namespace evalmpi::ops::cuda {

constexpr int kKeyTile = 64;
constexpr int kQuerySlots = 64;  // (row, query head) pairs of one block of attend_tiles
constexpr int kAttendThreads = 128;
constexpr float kLog2E = 1.4426950408889634f;

// Which positions row `position` sees.
__device__ inline bool is_visible(int32_t key, int32_t position, int32_t window) {
  return key <= position && (window == 0 || key > position - window);
}

__device__ inline int32_t first_key_tile(int32_t position, int32_t window) {
  const int32_t first = window == 0 || position < window ? 0 : position - window + 1;
  return first / kKeyTile * kKeyTile;
}

// A score from a product of query and key.
template <class T>
__device__ inline float score_of(const AttendCall<T>& call, float product, int32_t head, int32_t key) {
  float score = product * call.scale;
  if (call.soft_cap > 0.0f) score = call.soft_cap * tanhf(score / call.soft_cap);
  if (call.bias != nullptr) score += call.bias[head * call.bias_step + key];
  return score * kLog2E;
}

// What a row begins with: nothing, or its sink, which is a score without a value.
template <class T>
__device__ inline float first_max(const AttendCall<T>& call, int32_t head) {
  return call.sinks == nullptr ? -INFINITY : call.sinks[head] * kLog2E;
}

template <class T>
__device__ inline const T* key_value_row(const T* fresh, const T* stored, int32_t source, int64_t step,
                                         int64_t offset) {
  return source < 0 ? fresh + ~source * step + offset : stored + source * step + offset;
}

// Any head size and type, in float32: block (tile of one row, query head in order).
template <class T>
__global__ void attend_rows(AttendCall<T> call) {
  const RowTile tile = call.tiles[blockIdx.x];
  if (tile.rows == 0) return;
  const int H = call.head_dim, U = call.value_dim;
  const int32_t head = call.query_head_order[blockIdx.y], kv_head = call.kv_head_of_order[blockIdx.y];
  const int64_t key_step = static_cast<int64_t>(call.kv_heads) * H,
                value_step = static_cast<int64_t>(call.kv_heads) * U;
  const int64_t row_head = static_cast<int64_t>(tile.row) * call.query_heads + head;
  const int32_t* sources = call.sources + tile.source_begin;
  float* query = reinterpret_cast<float*>(shared_memory);
  float* mixed = query + H;
  float* scores = mixed + U;  // kKeyTile, then as many weights
  float* weights = scores + kKeyTile;
  for (int d = threadIdx.x; d < H; d += kAttendThreads) query[d] = static_cast<float>(call.q[row_head * H + d]);
  for (int d = threadIdx.x; d < U; d += kAttendThreads) mixed[d] = 0.0f;
  float max = first_max(call, head), sum = call.sinks == nullptr ? 0.0f : 1.0f;
  for (int32_t begin = first_key_tile(tile.start, call.window); begin <= tile.start; begin += kKeyTile) {
    __syncthreads();
    if (threadIdx.x < kKeyTile) {
      const int32_t key = begin + static_cast<int32_t>(threadIdx.x);
      float score = -INFINITY;
      if (is_visible(key, tile.start, call.window)) {
        const T* k = key_value_row(call.k, call.stored_k, sources[key], key_step, static_cast<int64_t>(kv_head) * H);
        float product = 0.0f;
        for (int d = 0; d < H; ++d) product = fmaf(query[d], static_cast<float>(k[d]), product);
        score = score_of(call, product, head, key);
      }
      scores[threadIdx.x] = score;
    }
    __syncthreads();
    float top = max;
    for (int j = 0; j < kKeyTile; ++j) top = scores[j] > top || scores[j] != scores[j] ? scores[j] : top;
    // Nothing seen yet, or only scores of -infinity.
    const float base = top == -INFINITY ? 0.0f : top;
    if (threadIdx.x < kKeyTile) weights[threadIdx.x] = exp2f(scores[threadIdx.x] - base);
    __syncthreads();
    const float shrink = exp2f(max - base);
    sum *= shrink;
    for (int j = 0; j < kKeyTile; ++j) sum += weights[j];
    for (int d = threadIdx.x; d < U; d += kAttendThreads) {
      float value = mixed[d] * shrink;
      for (int j = 0; j < kKeyTile; ++j) {
        if (!is_visible(begin + j, tile.start, call.window)) continue;
        const T* v =
            key_value_row(call.v, call.stored_v, sources[begin + j], value_step, static_cast<int64_t>(kv_head) * U);
        value = fmaf(weights[j], static_cast<float>(v[d]), value);
      }
      mixed[d] = value;
    }
    max = top;
  }
  for (int d = threadIdx.x; d < U; d += kAttendThreads) call.out[row_head * U + d] = static_cast<T>(mixed[d] / sum);
}

// Two neighbouring 16-bit elements.
template <class T>
__device__ inline uint32_t pair_at(const T* at) {
  return *reinterpret_cast<const uint32_t*>(at);
}

template <class T>
__device__ inline uint32_t pair_of(float low, float high) {
  return static_cast<uint32_t>(static_cast<T>(low).x) | static_cast<uint32_t>(static_cast<T>(high).x) << 16;
}

// Elements between rows of a tile in shared memory: 16 bytes more than a row, so that rows begin in different banks.
template <int H>
constexpr int kTileStep = H + 8;

// Shared memory: two stages of a tile of keys and a tile of values.
template <int H, int U>
constexpr int kAttendBytes = 2 * kKeyTile*(kTileStep<H> + kTileStep<U>)*2;

// Queries stay in registers where these hold them beside the result; else they are read again for each tile of keys.
template <int H>
constexpr bool kKeepsQueries = H <= 128;

template <class T, int H>
__device__ inline void load_tile(T* tile, const T* fresh, const T* stored, const int32_t* sources, int32_t begin,
                                 int32_t end, int64_t step, int64_t offset) {
  constexpr int kPieces = H / 8;  // of 16 bytes
  for (int i = threadIdx.x; i < kKeyTile * kPieces; i += kAttendThreads) {
    const int row = i / kPieces, piece = i % kPieces * 8;
    const bool is_there = begin + row < end;
    const int32_t source = sources[is_there ? begin + row : end - 1];
    copy_16_bytes(tile + row * kTileStep<H> + piece, key_value_row(fresh, stored, source, step, offset) + piece,
                  is_there);
  }
}

// One (row, query head) pair of a block: where its query and its result are; row -1: none.
struct Slot {
  int32_t position, head;
  int64_t row_head;
};

template <class T>
__device__ inline Slot slot_at(const AttendCall<T>& call, const RowTile& tile, int32_t order_begin, int32_t group,
                               int32_t slot) {
  if (slot >= tile.rows * group) return {-1, 0, -1};
  const int32_t head = call.query_head_order[order_begin + slot % group];
  return {tile.start + slot / group, head, static_cast<int64_t>(tile.row + slot / group) * call.query_heads + head};
}

// 16-bit types, H and U multiples of 16, on matrix units with float32 sums: block (tile of rows, KV head, run of
// kQuerySlots). A tile's slots are its rows times the KV head's query heads, 16 to a warp; slots beyond are idle.
template <class T, int H, int U>
__global__ void __launch_bounds__(kAttendThreads) attend_tiles(AttendCall<T> call) {
  const RowTile tile = call.tiles[blockIdx.x];
  const int32_t order_begin = call.query_head_begin[blockIdx.y];
  const int32_t group = call.query_head_begin[blockIdx.y + 1] - order_begin;
  const int32_t first_slot = static_cast<int32_t>(blockIdx.z) * kQuerySlots;
  if (tile.rows == 0 || first_slot >= tile.rows * group) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int64_t key_step = static_cast<int64_t>(call.kv_heads) * H, key_offset = static_cast<int64_t>(blockIdx.y) * H;
  const int64_t value_step = static_cast<int64_t>(call.kv_heads) * U,
                value_offset = static_cast<int64_t>(blockIdx.y) * U;
  const int32_t* sources = call.sources + tile.source_begin;
  const int32_t end = tile.start + tile.rows;
  T* shared = reinterpret_cast<T*>(shared_memory);
  constexpr int kStage = kKeyTile * (kTileStep<H> + kTileStep<U>);

  // The two slots of which this thread holds a part.
  Slot slot[2];
  EVALMPI_UNROLL
  for (int half = 0; half < 2; ++half)
    slot[half] = slot_at(call, tile, order_begin, group, first_slot + warp * 16 + g + 8 * half);
  // Registers of the product's left side: elements e of columns 16 i ..
  const auto query_part = [&](int i, int e) {
    const int64_t row_head = slot[e % 2].row_head;
    return row_head < 0 ? 0u : pair_at(call.q + row_head * H + i * 16 + 2 * t + 8 * (e / 2));
  };
  uint32_t query[kKeepsQueries<H> ? H / 16 : 1][4];
  if constexpr (kKeepsQueries<H>) {
    EVALMPI_UNROLL
    for (int i = 0; i < H / 16; ++i) {
      EVALMPI_UNROLL
      for (int e = 0; e < 4; ++e) query[i][e] = query_part(i, e);
    }
  }

  const auto stage_of = [&](int32_t stage) { return shared + stage * kStage; };
  const auto load_stage = [&](int32_t stage, int32_t begin) {
    T* keys = stage_of(stage);
    load_tile<T, H>(keys, call.k, call.stored_k, sources, begin, end, key_step, key_offset);
    load_tile<T, U>(keys + kKeyTile * kTileStep<H>, call.v, call.stored_v, sources, begin, end, value_step,
                    value_offset);
    close_copy_group();
  };

  float mixed[U / 8][4] = {};
  float max[2], sum[2] = {};
  EVALMPI_UNROLL
  for (int half = 0; half < 2; ++half) {
    max[half] = first_max(call, slot[half].head);
    // The four threads of a slot add up at the end: the sink is one thread's.
    sum[half] = call.sinks != nullptr && t == 0 ? 1.0f : 0.0f;
  }
  const int32_t first = first_key_tile(tile.start, call.window);
  load_stage(0, first);
  int32_t stage = 0;
  for (int32_t begin = first; begin < end; begin += kKeyTile, stage ^= 1) {
    if (begin + kKeyTile < end) {
      load_stage(stage ^ 1, begin + kKeyTile);
      wait_for_copies<1>();
    } else {
      wait_for_copies<0>();
    }
    __syncthreads();
    const T* keys = stage_of(stage);
    const T* values = keys + kKeyTile * kTileStep<H>;

    float score[kKeyTile / 8][4] = {};
    EVALMPI_UNROLL
    for (int i = 0; i < H / 16; ++i) {
      uint32_t a[4];
      EVALMPI_UNROLL
      for (int e = 0; e < 4; ++e) {
        if constexpr (kKeepsQueries<H>) {
          a[e] = query[i][e];
        } else {
          a[e] = query_part(i, e);
        }
      }
      EVALMPI_UNROLL
      for (int n = 0; n < kKeyTile / 8; ++n) {
        const T* key = keys + (n * 8 + g) * kTileStep<H> + i * 16 + 2 * t;
        const uint32_t b[2] = {pair_at(key), pair_at(key + 8)};
        multiply_add<T>(score[n], a, b);
      }
    }
    float top[2] = {max[0], max[1]};
    EVALMPI_UNROLL
    for (int n = 0; n < kKeyTile / 8; ++n) {
      EVALMPI_UNROLL
      for (int e = 0; e < 4; ++e) {
        const Slot& of = slot[e / 2];
        const int32_t key = begin + n * 8 + 2 * t + e % 2;
        score[n][e] = is_visible(key, of.position, call.window) ? score_of(call, score[n][e], of.head, key) : -INFINITY;
        top[e / 2] = fmaxf(top[e / 2], score[n][e]);
      }
    }
    float base[2], shrink[2];
    EVALMPI_UNROLL
    for (int half = 0; half < 2; ++half) {
      top[half] = fmaxf(top[half], __shfl_xor_sync(0xffffffffu, top[half], 1));
      top[half] = fmaxf(top[half], __shfl_xor_sync(0xffffffffu, top[half], 2));
      base[half] = top[half] == -INFINITY ? 0.0f : top[half];  // nothing seen yet
      shrink[half] = exp2f(max[half] - base[half]);
      max[half] = top[half];
      sum[half] *= shrink[half];
    }
    uint32_t weight[kKeyTile / 8][2];
    EVALMPI_UNROLL
    for (int n = 0; n < kKeyTile / 8; ++n) {
      EVALMPI_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float low = exp2f(score[n][2 * half] - base[half]), high = exp2f(score[n][2 * half + 1] - base[half]);
        sum[half] += low;
        sum[half] += high;
        weight[n][half] = pair_of<T>(low, high);
      }
    }
    EVALMPI_UNROLL
    for (int n = 0; n < U / 8; ++n) {
      EVALMPI_UNROLL
      for (int e = 0; e < 4; ++e) mixed[n][e] *= shrink[e / 2];
    }
    EVALMPI_UNROLL
    for (int i = 0; i < kKeyTile / 16; ++i) {
      const uint32_t a[4] = {weight[2 * i][0], weight[2 * i][1], weight[2 * i + 1][0], weight[2 * i + 1][1]};
      EVALMPI_UNROLL
      for (int n = 0; n < U / 16; ++n) {
        uint32_t b[4];
        load_transposed(b, values + (i * 16 + lane / 8 % 2 * 8 + lane % 8) * kTileStep<U> + n * 16 + lane / 16 * 8);
        const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
        multiply_add<T>(mixed[2 * n], a, left);
        multiply_add<T>(mixed[2 * n + 1], a, right);
      }
    }
    __syncthreads();
  }

  EVALMPI_UNROLL
  for (int half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 1);
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 2);
    if (slot[half].row_head < 0) continue;
    EVALMPI_UNROLL
    for (int n = 0; n < U / 8; ++n) {
      *reinterpret_cast<uint32_t*>(call.out + slot[half].row_head * U + n * 8 + 2 * t) =
          pair_of<T>(mixed[n][2 * half] / sum[half], mixed[n][2 * half + 1] / sum[half]);
    }
  }
}

}  // namespace evalmpi::ops::cuda

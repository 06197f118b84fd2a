#pragma once

// What kernels read from device memory besides tensors.

#include <cstdint>

namespace evalmpi::ops::cuda {

// A new row whose keys and values go to a slot of the store; row -1: none.
struct StoredRow {
  int32_t row, slot;
};

// What is known of a row's logits after some tiles of the vocabulary, in ascending order of tiles.
struct RunningSummary {
  float max, sum;  // sum of exp(logit - max)
  int32_t argmax;  // column of the shard, the lowest on ties; -1 before the first tile
};

// Consecutive rows of one span; no rows: nothing to do.
struct RowTile {
  int32_t source_begin;  // where the sources of its span's positions begin
  int32_t start;         // absolute position of the first row
  int32_t row, rows;
};

// H: head_dim, U: value_dim.
template <class T>
struct AttendCall {
  const T *q, *k, *v;               // [rows, query_heads, H], [rows, kv_heads, H], [rows, kv_heads, U]
  const T *stored_k, *stored_v;     // [slots, kv_heads, H], [slots, kv_heads, U]
  const int32_t* sources;           // per span and position: the store's slot, or ~row for a new row
  const RowTile* tiles;             // one per block in x
  const int32_t* query_head_order;  // the query heads, those of one KV head side by side
  const int32_t* query_head_begin;  // [kv_heads + 1]: where each KV head's begin in that order
  const int32_t* kv_head_of_order;  // the KV head of each element of that order
  const float* bias;                // [query_heads, bias_step], added to scores by the key's position, or null
  const float* sinks;               // [query_heads]: one more score of the softmax, without a value, or null
  int64_t bias_step;
  int32_t query_heads, kv_heads, head_dim, value_dim;
  int32_t window;  // 0: none
  float scale;
  float soft_cap;  // 0: none
  T* out;          // [rows, query_heads, U]

  template <class Other>
  AttendCall<Other> with_type() const {
    const auto as = [](const T* p) { return static_cast<const Other*>(static_cast<const void*>(p)); };
    return {as(q),
            as(k),
            as(v),
            as(stored_k),
            as(stored_v),
            sources,
            tiles,
            query_head_order,
            query_head_begin,
            kv_head_of_order,
            bias,
            sinks,
            bias_step,
            query_heads,
            kv_heads,
            head_dim,
            value_dim,
            window,
            scale,
            soft_cap,
            static_cast<Other*>(static_cast<void*>(out))};
  }
};

}  // namespace evalmpi::ops::cuda

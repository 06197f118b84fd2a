#pragma once

// What a KeyValueStore is made of; for the files of ops that hand it to kernels.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "cuda/device_store.h"
#include "evalmpi/ops/attention.h"

namespace evalmpi::ops {

// Positions of some paths, for all heads of one layer: head g of the i-th of these paths begins at (i * kv_heads + g)
// times the size of one.
struct Positions {
  int64_t capacity = 0;                            // on every path, a multiple of 16
  at::Tensor keys = at::empty({0}, at::kFloat);    // per path and head: [panel of positions][head_dim][16]
  at::Tensor values = at::empty({0}, at::kFloat);  // per path and head: [position][value_step]
};

struct LayerStorage {
  Positions trunk;                      // path 0
  Positions others;                     // the other paths, from position `shared` on
  std::vector<int64_t> length_of_path;  // positions written
};

struct KeyValueStore::Storage {
  std::unique_ptr<cuda::DeviceStore> device;  // holds everything where it is not null
  int64_t paths, kv_heads, head_dim, value_dim, value_step;
  int64_t shared = 0;    // the other paths' first positions are those of path 0; a multiple of kBlock
  int64_t capacity = 0;  // positions on every path
  std::vector<LayerStorage> layers;

  int64_t origin(int64_t path) const { return path == 0 ? 0 : shared; }
  const Positions& positions(int64_t layer, int64_t path) const {
    return path == 0 ? layers[layer].trunk : layers[layer].others;
  }
  // From position origin(path) on.
  float* keys(int64_t layer, int64_t path, int64_t head) const {
    const Positions& p = positions(layer, path);
    return p.keys.mutable_data_ptr<float>() +
           (std::max<int64_t>(path - 1, 0) * kv_heads + head) * p.capacity * head_dim;
  }
  float* values(int64_t layer, int64_t path, int64_t head) const {
    const Positions& p = positions(layer, path);
    return p.values.mutable_data_ptr<float>() +
           (std::max<int64_t>(path - 1, 0) * kv_heads + head) * p.capacity * value_step;
  }
};

// A path of a store.
struct StoredPath {
  const KeyValueStore::Storage& store;
  int32_t path;
};

// Copies positions [0, length) of one head of one layer from a path to another, but for those that both share.
void copy_head(const StoredPath& from, const StoredPath& to, int64_t layer, int64_t head, int64_t length);

// Checks the spans of a call with `rows` rows, makes room for them in a layer and notes what every path will hold.
void admit_spans(std::span<const AttentionSpan> spans, int64_t rows, int64_t layer, KeyValueStore& store);

}  // namespace evalmpi::ops

#pragma once

// The keys and values of a KeyValueStore on a device: a pool of slots in each layer (slot_tables.h). Works on tensors
// of any device.

#include <ATen/core/Tensor.h>

#include <mutex>
#include <vector>

#include "slot_tables.h"

namespace evalmpi::ops::cuda {

class DeviceStore {
 public:
  DeviceStore(int64_t layers, int64_t paths, int64_t kv_heads, int64_t head_dim, int64_t value_dim,
              const at::TensorOptions& options);

  void reserve(int64_t positions);
  void share(int64_t positions);
  void copy_path(int32_t from, int32_t to, int64_t length);
  void copy_from(const DeviceStore& other, int32_t from, int32_t to, int64_t length);
  void settle() const;
  int64_t shared_positions() const { return tables_.shared(); }
  int64_t bytes() const;

  // SlotTables::admit, with room for what the spans add.
  SpanTables admit(std::span<const AttentionSpan> spans, int64_t rows, int tile_rows);

  // Takes all the room that its paths may ever need, so that memory stays where it is until capacity or sharing change.
  void take_room();
  // Of the memory of keys and values: changes when that moves, and differs between stores.
  int64_t version() const { return version_; }

  const at::TensorOptions& options() const { return options_; }
  int64_t layers() const { return static_cast<int64_t>(keys_.size()); }
  int64_t paths() const { return tables_.paths(); }
  int64_t capacity() const { return capacity_; }
  int64_t kv_heads() const { return kv_heads_; }
  int64_t head_dim() const { return head_dim_; }
  int64_t value_dim() const { return value_dim_; }
  const at::Tensor& keys(int64_t layer) const { return keys_.at(layer); }      // [slots, G, H]
  const at::Tensor& values(int64_t layer) const { return values_.at(layer); }  // [slots, G, U]

 private:
  void make_room(bool for_all_paths);

  int64_t kv_heads_, head_dim_, value_dim_;
  int64_t capacity_ = 0;  // positions on every path
  int64_t slots_ = 0;     // there is room for
  int64_t version_;
  at::TensorOptions options_;
  SlotTables tables_;
  std::vector<at::Tensor> keys_, values_;
  // Another lane may copy a path from here while this one works on others: it holds this while it takes its references.
  mutable std::mutex mutex_;
};

}  // namespace evalmpi::ops::cuda

#pragma once

// Which slot of a device's store holds each position of each path, and what the attention kernels need to know of a
// list of spans: worked out on the host, once for all layers.
//
// A slot is room for the keys and values of one position in every layer. Paths refer to slots, so that what they share
// is there once: a fork takes over references, and the last path that lets go of a slot frees it. Spans are processed
// "in order", each overwriting what an earlier one left on its path (ops/attention.h). A device computes them all at
// once: for every span, the table names where the keys of each of its positions are, in the store or among the new
// rows; what remains of the new rows enters the store after the attention.

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "attend_call.h"
#include "evalmpi/ops/attention.h"

namespace evalmpi::ops::cuda {

struct SpanTables {
  std::vector<int32_t> sources;   // per span: positions 0 .. its end, the store's slot or ~row
  std::vector<RowTile> tiles;     // of at most tile_rows rows, those with most keys first
  std::vector<StoredRow> stored;  // the new rows that remain on a path
};

class SlotTables {
 public:
  explicit SlotTables(int64_t paths);
  int64_t paths() const { return static_cast<int64_t>(slots_of_path_.size()); }
  int64_t length(int32_t path) const { return static_cast<int64_t>(slots_of_path_.at(path).size()); }
  std::span<const int32_t> slots(int32_t path) const { return slots_of_path_.at(path); }
  int64_t shared() const { return shared_; }
  // Slots that have been in use at one time: 0 .. slot_count() - 1.
  int64_t slot_count() const { return static_cast<int64_t>(references_.size()); }

  // Takes in the spans of a call with `rows` new rows. FAILS: kInternal for a span that continues nothing, or what is
  // shared.
  SpanTables admit(std::span<const AttentionSpan> spans, int64_t rows, int tile_rows);
  // As KeyValueStore's.
  void share(int64_t positions);
  void copy_path(int32_t from, int32_t to, int64_t length);
  // Path `to` becomes what all share, then new slots up to `length`; returns its slots.
  std::span<const int32_t> renew(int32_t to, int64_t length);

 private:
  // What the paths of a call hold once its spans are taken in: slots, or ~row for new rows.
  using SourcesOfPaths = std::map<int32_t, std::vector<int32_t>>;

  void commit(SourcesOfPaths& sources_of_path, int64_t rows, std::vector<StoredRow>& stored);
  void let_go(int32_t path, size_t begin);
  void set_path(int32_t path, std::vector<int32_t> slots);
  int32_t take_slot();

  int64_t shared_ = 0;
  std::vector<std::vector<int32_t>> slots_of_path_;
  std::vector<int32_t> references_;  // of each slot
  std::vector<int32_t> free_;
};

// The query heads of each KV head side by side.
struct HeadOrder {
  std::vector<int32_t> query_head;  // in that order
  std::vector<int32_t> begin;       // [kv_heads + 1]
  std::vector<int32_t> kv_head;     // of each element of query_head
  int32_t most_of_a_kv_head = 0;
};

HeadOrder make_head_order(std::span<const int32_t> kv_head_of_query, int64_t kv_heads);

}  // namespace evalmpi::ops::cuda

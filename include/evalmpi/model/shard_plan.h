#pragma once

// Which heads, MLP columns and vocabulary rows each tensor-parallel rank holds. Any tp fits any model: nothing has
// to divide, and a rank may hold nothing of a kind. Pure functions.

#include <cstdint>
#include <vector>

#include "evalmpi/model/spec.h"

namespace evalmpi::model {

// [begin, end)
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

// Ranges of dimension `dim` of a tensor, to be joined in order; of each range every step-th. With an index, of that
// element of the first dimension, which is then left out.
struct Slice {
  int64_t dim = 0;
  std::vector<Range> ranges;
  int64_t step = 1;
  int64_t index = -1;
  int64_t size() const;  // of dimension `dim` after joining
};

struct RankShard {
  Range query_heads;                      // contiguous; the ranks' ranges cover all heads in order
  Range kv_heads;                         // those that query_heads read; on a border two ranks may hold the same
  std::vector<int32_t> kv_head_of_query;  // [query_heads.size()], local KV head index
  Range mlp;                              // columns of gate and up, rows of down
  Range expert_mlp;                       // the same of every expert
  Range shared_mlp;                       // of the expert that all tokens take
  Range vocab;                            // rows of embedding and head
  bool is_first = true;                   // holds what is added once over all ranks
};

struct ShardPlan {
  std::vector<RankShard> ranks;  // [tp]
  int tp() const { return static_cast<int>(ranks.size()); }
};

// KV heads >= tp: whole KV groups, as equal as they come, more on lower ranks (8 on 3: 3, 3, 2). Otherwise: contiguous
// query heads, border KV heads on both sides. MLP columns are then given out so that parameters per rank
// balance (a_r + c I_r = const), in granules of gcd(width, granule), by largest remainder; vocabulary rows as
// equal as they come. FAILS: kUsage for tp < 1.
ShardPlan make_shard_plan(const ModelSpec& spec, int tp, int64_t granule = 16);

}  // namespace evalmpi::model

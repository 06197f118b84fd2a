#include "evalmpi/model/shard_plan.h"

#include <algorithm>
#include <numeric>

#include "evalmpi/base/error.h"

namespace evalmpi::model {
namespace {

// [0, count) in `parts` consecutive ranges, as equal as they come, the longer ones first.
std::vector<Range> equal_ranges(int64_t count, int parts) {
  std::vector<Range> ranges;
  int64_t begin = 0;
  for (int part = 0; part < parts; ++part) {
    const int64_t length = count / parts + (part < count % parts ? 1 : 0);
    ranges.push_back({begin, begin + length});
    begin += length;
  }
  return ranges;
}

void assign_heads(const ModelSpec& spec, ShardPlan& plan) {
  const int64_t group = spec.query_heads_per_kv_head();
  const bool whole_groups = spec.kv_heads >= plan.tp();
  const std::vector<Range> ranges = equal_ranges(whole_groups ? spec.kv_heads : spec.heads, plan.tp());
  for (size_t rank = 0; rank < ranges.size(); ++rank) {
    RankShard& shard = plan.ranks[rank];
    const int64_t scale = whole_groups ? group : 1;
    shard.query_heads = {ranges[rank].begin * scale, ranges[rank].end * scale};
    shard.kv_heads = {shard.query_heads.begin / group, (shard.query_heads.end + group - 1) / group};
    if (shard.query_heads.size() == 0) shard.kv_heads.end = shard.kv_heads.begin;
    for (int64_t head = shard.query_heads.begin; head < shard.query_heads.end; ++head) {
      shard.kv_head_of_query.push_back(static_cast<int32_t>(head / group - shard.kv_heads.begin));
    }
  }
}

// The attention parameters of a rank, and those of one MLP column, in one layer.
int64_t attention_parameters(const ModelSpec& spec, const RankShard& shard) {
  if (const LatentSpec& latent = spec.latent; latent.key_value_rank > 0) {
    const int64_t query = spec.head_dim * (latent.query_rank > 0 ? latent.query_rank : spec.hidden);
    const int64_t key_value = (spec.head_dim - latent.rotary_dim + latent.value_dim) * latent.key_value_rank;
    return shard.query_heads.size() * (query + key_value + latent.value_dim * spec.hidden);
  }
  return 2 * (shard.query_heads.size() + shard.kv_heads.size()) * spec.head_dim * spec.hidden;
}
int64_t mlp_column_parameters(const ModelSpec& spec) { return (spec.gated_mlp ? 3 : 2) * spec.hidden; }

// Ranks whose attention alone is above the common level get no columns; the others share what makes
// a_r + c I_r = level. Units of `granule` columns, by largest remainder, ties to the higher rank.
std::vector<int64_t> balanced_columns(const std::vector<int64_t>& attention, int64_t column, int64_t width,
                                      int64_t granule) {
  const int64_t units = width / granule;
  const int64_t unit = column * granule;
  std::vector<size_t> active(attention.size());
  std::iota(active.begin(), active.end(), size_t{0});
  std::stable_sort(active.begin(), active.end(), [&](size_t a, size_t b) { return attention[a] < attention[b]; });
  int64_t total = units * unit + std::accumulate(attention.begin(), attention.end(), int64_t{0});
  while (attention[active.back()] * static_cast<int64_t>(active.size()) > total) {
    total -= attention[active.back()];
    active.pop_back();
  }
  const int64_t count = static_cast<int64_t>(active.size());
  std::vector<int64_t> columns(attention.size(), 0);
  std::vector<std::pair<int64_t, size_t>> remainders;
  int64_t left = units;
  for (const size_t rank : active) {
    const int64_t numerator = total - count * attention[rank];
    columns[rank] = numerator / (count * unit);
    left -= columns[rank];
    remainders.emplace_back(numerator % (count * unit), rank);
  }
  std::sort(remainders.rbegin(), remainders.rend());
  for (int64_t i = 0; i < left; ++i) ++columns[remainders[static_cast<size_t>(i)].second];
  for (int64_t& value : columns) value *= granule;
  return columns;
}

}  // namespace

int64_t Slice::size() const {
  int64_t total = 0;
  for (const Range& range : ranges) total += (range.size() + step - 1) / step;
  return total;
}

ShardPlan make_shard_plan(const ModelSpec& spec, int tp, int64_t granule) {
  if (tp < 1 || tp > (1 << 14)) fail(ExitCode::kUsage, "tp is {}; it must be from 1 to {}", tp, 1 << 14);
  EVALMPI_CHECK(granule >= 1);
  ShardPlan plan;
  plan.ranks.resize(static_cast<size_t>(tp));
  assign_heads(spec, plan);
  std::vector<int64_t> attention;
  for (const RankShard& shard : plan.ranks) attention.push_back(attention_parameters(spec, shard));
  const auto assign = [&](int64_t width, int64_t column, Range RankShard::*range) {
    const std::vector<int64_t> columns = balanced_columns(attention, column, width, std::gcd(width, granule));
    int64_t begin = 0;
    for (size_t rank = 0; rank < plan.ranks.size(); begin += columns[rank++]) {
      plan.ranks[rank].*range = {begin, begin + columns[rank]};
    }
    EVALMPI_CHECK(begin == width);
  };
  assign(spec.mlp, mlp_column_parameters(spec), &RankShard::mlp);
  if (spec.experts.count > 0) assign(spec.experts.mlp, spec.experts.count * 3 * spec.hidden, &RankShard::expert_mlp);
  if (spec.experts.shared_mlp > 0) assign(spec.experts.shared_mlp, 3 * spec.hidden, &RankShard::shared_mlp);
  const std::vector<Range> vocab = equal_ranges(spec.vocab, tp);
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    plan.ranks[rank].vocab = vocab[rank];
    plan.ranks[rank].is_first = rank == 0;
  }
  return plan;
}

}  // namespace evalmpi::model

#include "evalmpi/model/shard_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "evalmpi/base/error.h"

namespace evalmpi::model {
namespace {

ModelSpec sizes(int64_t hidden, int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t mlp, int64_t vocab) {
  ModelSpec spec;
  spec.family = "llama";
  spec.hidden = hidden;
  spec.layers = 1;
  spec.heads = heads;
  spec.kv_heads = kv_heads;
  spec.head_dim = head_dim;
  spec.mlp = mlp;
  spec.vocab = vocab;
  return spec;
}

std::vector<int64_t> lengths(const ShardPlan& plan, Range RankShard::*part) {
  std::vector<int64_t> result;
  for (const RankShard& shard : plan.ranks) result.push_back((shard.*part).size());
  return result;
}

using Lengths = std::vector<int64_t>;

TEST(ShardPlan, Llama3With8BillionParametersOnThree) {
  const ShardPlan plan = make_shard_plan(sizes(4096, 32, 8, 128, 14336, 128256), 3);
  EXPECT_EQ(lengths(plan, &RankShard::kv_heads), (Lengths{3, 3, 2}));
  EXPECT_EQ(lengths(plan, &RankShard::query_heads), (Lengths{12, 12, 8}));
  EXPECT_EQ(lengths(plan, &RankShard::mlp), (Lengths{4640, 4640, 5056}));
  EXPECT_EQ(lengths(plan, &RankShard::vocab), (Lengths{42752, 42752, 42752}));
}

TEST(ShardPlan, Llama3With70BillionParametersOnThree) {
  const ShardPlan plan = make_shard_plan(sizes(8192, 64, 8, 128, 28672, 128256), 3);
  EXPECT_EQ(lengths(plan, &RankShard::mlp), (Lengths{9296, 9296, 10080}));
}

TEST(ShardPlan, GranuleOf128) {
  const ShardPlan plan = make_shard_plan(sizes(4096, 32, 8, 128, 14336, 128256), 3, 128);
  EXPECT_EQ(lengths(plan, &RankShard::mlp), (Lengths{4608, 4608, 5120}));
}

// Qwen2.5-0.5B: 14 query heads on 2 KV heads; the border runs through a group.
TEST(ShardPlan, BorderHeadsAreReplicated) {
  const ShardPlan plan = make_shard_plan(sizes(896, 14, 2, 64, 4864, 151936), 3);
  EXPECT_EQ(lengths(plan, &RankShard::query_heads), (Lengths{5, 5, 4}));
  EXPECT_EQ(plan.ranks[0].kv_heads, (Range{0, 1}));
  EXPECT_EQ(plan.ranks[1].kv_heads, (Range{0, 2}));
  EXPECT_EQ(plan.ranks[2].kv_heads, (Range{1, 2}));
  EXPECT_EQ(plan.ranks[1].kv_head_of_query, (std::vector<int32_t>{0, 0, 1, 1, 1}));
  EXPECT_EQ(plan.ranks[2].kv_head_of_query, (std::vector<int32_t>{0, 0, 0, 0}));
}

TEST(ShardPlan, RanksBeyondTheHeadsHoldTheMlpOnly) {
  const ShardPlan plan = make_shard_plan(sizes(64, 2, 1, 32, 4096, 7), 4);
  EXPECT_EQ(lengths(plan, &RankShard::query_heads), (Lengths{1, 1, 0, 0}));
  EXPECT_EQ(lengths(plan, &RankShard::kv_heads), (Lengths{1, 1, 0, 0}));
  EXPECT_EQ(lengths(plan, &RankShard::vocab), (Lengths{2, 2, 2, 1}));
  const Lengths mlp = lengths(plan, &RankShard::mlp);
  EXPECT_GT(mlp[2], mlp[0]);
  EXPECT_EQ(mlp[2], mlp[3]);
}

// A rank whose attention outweighs everybody's share gets no MLP columns.
TEST(ShardPlan, AttentionAboveTheLevelLeavesNoColumns) {
  const ShardPlan plan = make_shard_plan(sizes(64, 3, 3, 64, 32, 10), 2);
  EXPECT_EQ(lengths(plan, &RankShard::query_heads), (Lengths{2, 1}));
  EXPECT_EQ(lengths(plan, &RankShard::mlp), (Lengths{0, 32}));
}

TEST(ShardPlan, CoversEverythingInOrderForAnySizes) {
  for (const int64_t heads : {1, 4, 7, 10, 12}) {
    for (const int64_t kv_heads : {1, 2, 5, 7}) {
      if (heads % kv_heads != 0) continue;
      for (const int64_t mlp : {1, 200, 301, 1024}) {
        for (int tp = 1; tp <= 16; ++tp) {
          const ModelSpec spec = sizes(40, heads, kv_heads, 4, mlp, 211);
          const ShardPlan plan = make_shard_plan(spec, tp);
          ASSERT_EQ(plan.tp(), tp);
          int64_t head = 0, column = 0, row = 0;
          for (const RankShard& shard : plan.ranks) {
            EXPECT_EQ(shard.query_heads.begin, head);
            EXPECT_EQ(shard.mlp.begin, column);
            EXPECT_EQ(shard.vocab.begin, row);
            ASSERT_EQ(shard.kv_head_of_query.size(), static_cast<size_t>(shard.query_heads.size()));
            std::vector<int32_t> used = shard.kv_head_of_query;
            for (size_t i = 0; i < used.size(); ++i) {
              EXPECT_EQ(shard.kv_heads.begin + used[i], (head + static_cast<int64_t>(i)) / (heads / kv_heads));
            }
            used.erase(std::unique(used.begin(), used.end()), used.end());
            EXPECT_EQ(static_cast<int64_t>(used.size()), shard.kv_heads.size());
            head = shard.query_heads.end;
            column = shard.mlp.end;
            row = shard.vocab.end;
          }
          EXPECT_EQ(head, heads);
          EXPECT_EQ(column, mlp);
          EXPECT_EQ(row, 211);
        }
      }
    }
  }
}

TEST(ShardPlan, RefusesNoRanks) { EXPECT_THROW(make_shard_plan(sizes(8, 1, 1, 8, 8, 8), 0), Error); }

}  // namespace
}  // namespace evalmpi::model

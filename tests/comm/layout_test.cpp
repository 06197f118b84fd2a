#include <gtest/gtest.h>

#include <numeric>

#include "evalmpi/base/error.h"
#include "evalmpi/comm/mesh.h"

namespace evalmpi::comm {
namespace {

// `per_host[h]` ranks on host h, each of which may use all `cores` of its host.
std::vector<RankOffer> cluster(const std::vector<int>& per_host, int cores) {
  std::vector<RankOffer> ranks;
  for (size_t host = 0; host < per_host.size(); ++host) {
    for (int i = 0; i < per_host[host]; ++i) {
      RankOffer& rank = ranks.emplace_back(RankOffer{.host = static_cast<int>(host)});
      rank.cpus.resize(cores);
      std::iota(rank.cpus.begin(), rank.cpus.end(), 0);
    }
  }
  return ranks;
}

std::vector<int> ranks_of(const LayoutPlan& plan) {
  std::vector<int> ranks;
  for (const LayoutPlan::Place& place : plan.places) {
    ranks.push_back(place.rank);
  }
  return ranks;
}

std::string refusal(const LayoutRequest& request, const std::vector<RankOffer>& ranks) {
  try {
    plan_layout(request, ranks);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

using Ints = std::vector<int>;

TEST(Layout, OneProcessUsesItsCoresAsLanes) {
  const LayoutPlan plan = plan_layout({}, cluster({1}, 6));
  EXPECT_EQ(plan.dp, 1);
  EXPECT_EQ(ranks_of(plan), Ints{0});
  EXPECT_EQ(plan.lanes_of_replica, Ints{6});
  EXPECT_TRUE(plan.warnings.empty());
  EXPECT_EQ(plan.description, "1 replica of 1 place (tp 1) on 1 rank of 1 host, 6 lanes");
}

TEST(Layout, OneProcessHostsATensorParallelGroup) {
  const LayoutPlan plan = plan_layout({.tp = 3}, cluster({1}, 2));
  EXPECT_EQ(plan.dp, 1);
  EXPECT_EQ(ranks_of(plan), (Ints{0, 0, 0}));
  EXPECT_EQ(plan.places[2].index_in_rank, 2);
  EXPECT_EQ(plan.lanes_of_replica, Ints{1});
  EXPECT_EQ(plan.description, "1 replica of 3 places (tp 3) on 1 rank of 1 host, 1 lane, up to 3 places per rank");
  EXPECT_EQ(plan_layout({.tp = 3}, cluster({1}, 16)).lanes_of_replica, Ints{5});
}

TEST(Layout, AsManyReplicasAsFit) {
  const LayoutPlan plan = plan_layout({.tp = 3}, cluster({7}, 14));
  EXPECT_EQ(plan.dp, 2);
  EXPECT_EQ(ranks_of(plan), (Ints{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(plan.idle_ranks, 1);
  EXPECT_EQ(plan.lanes_of_replica, (Ints{2, 2}));  // 14 cores for 6 busy ranks
  ASSERT_EQ(plan.warnings.size(), 1U);
  EXPECT_EQ(plan.warnings[0], "1 of 7 ranks has nothing to do: --tp 3 --dp 2 needs 6 places");
  EXPECT_EQ(plan.description, "2 replicas of 3 places (tp 3) on 6 ranks of 1 host, 2 lanes each; 1 rank idle");
}

TEST(Layout, SurplusIdlesWhenDpIsGiven) {
  const LayoutPlan plan = plan_layout({.tp = 3, .dp = 1}, cluster({5}, 8));
  EXPECT_EQ(ranks_of(plan), (Ints{0, 1, 2}));
  EXPECT_EQ(plan.idle_ranks, 2);
  EXPECT_EQ(plan.warnings.at(0), "2 of 5 ranks have nothing to do: --tp 3 --dp 1 needs 3 places");
}

TEST(Layout, GroupsStayOnAHostWhereTheyCan) {
  const LayoutPlan plan = plan_layout({.tp = 3}, cluster({4, 4}, 8));
  EXPECT_EQ(ranks_of(plan), (Ints{0, 1, 2, 4, 5, 6}));
  EXPECT_FALSE(plan.tp_crosses_hosts);
  EXPECT_EQ(plan.warnings.size(), 1U);  // of the idle ranks
}

TEST(Layout, AGroupAcrossHostsIsWarnedAboutOnce) {
  const LayoutPlan plan = plan_layout({.tp = 3, .dp = 2}, cluster({2, 2, 2}, 8));
  EXPECT_EQ(ranks_of(plan), (Ints{0, 1, 2, 3, 4, 5}));
  EXPECT_TRUE(plan.tp_crosses_hosts);
  ASSERT_EQ(plan.warnings.size(), 1U);
  EXPECT_NE(plan.warnings[0].find("--tp 3 lies across hosts"), std::string::npos);
}

TEST(Layout, NeighboursByHostWhateverTheLaunchersOrder) {
  std::vector<RankOffer> ranks = cluster({1, 1, 1, 1}, 4);
  ranks[1].host = ranks[3].host = 1;  // ranks 0, 2 on one host and 1, 3 on the other
  ranks[0].host = ranks[2].host = 0;
  const LayoutPlan plan = plan_layout({.tp = 2}, ranks);
  EXPECT_EQ(ranks_of(plan), (Ints{0, 2, 1, 3}));
  EXPECT_FALSE(plan.tp_crosses_hosts);
}

TEST(Layout, TooFewRanksHostSeveralPlacesEach) {
  EXPECT_EQ(ranks_of(plan_layout({.tp = 3}, cluster({2}, 2))), (Ints{0, 0, 1}));
  EXPECT_EQ(ranks_of(plan_layout({.tp = 4}, cluster({2}, 2))), (Ints{0, 0, 1, 1}));
  const LayoutPlan plan = plan_layout({.tp = 1, .dp = 5}, cluster({2}, 2));
  EXPECT_EQ(ranks_of(plan), (Ints{0, 0, 0, 1, 1}));
  EXPECT_EQ(plan.places[2].index_in_rank, 2);
  EXPECT_EQ(plan.places[3].index_in_rank, 0);
  EXPECT_EQ(plan.lanes_of_replica, Ints(5, 1));
}

TEST(Layout, ReplicasShareTheCoresOfOneProcess) {
  const LayoutPlan plan = plan_layout({.tp = 1, .dp = 2}, cluster({1}, 8));
  EXPECT_EQ(ranks_of(plan), (Ints{0, 0}));
  EXPECT_EQ(plan.lanes_of_replica, (Ints{4, 4}));
}

TEST(Layout, StillTooFewNamesWhatFits) {
  EXPECT_EQ(
      refusal({.tp = 8, .dp = 3}, cluster({2}, 2)),
      "--tp 8 --dp 3 needs 24 places, but 2 ranks can hold at most 8. Layouts that fit: --tp 8 --dp 1; --tp 2 --dp "
      "3; --tp 1 --dp 8. Or start 6 ranks or more");
  EXPECT_EQ(refusal({.tp = 5}, cluster({1}, 2)),
            "--tp 5 --dp 1 needs 5 places, but 1 rank can hold at most 4. Layouts that fit: --tp 4 --dp 1; --tp 1 --dp "
            "4. Or start 2 ranks or more");
  EXPECT_EQ(plan_layout({.tp = 8}, cluster({1}, 8)).dp, 1);  // a rank with 8 cores holds 8
}

TEST(Layout, WhatARefusalOffersDoesFit) {
  for (const int tp : {5, 9, 1000}) {
    for (const int ranks : {1, 2}) {
      const std::vector<RankOffer> offers = cluster({ranks}, 2);
      const std::string text = refusal({.tp = tp, .dp = 2}, offers);
      for (size_t at = text.find("fit: "); at != std::string::npos; at = text.find("; --tp", at + 1)) {
        int fitting_tp = 0, fitting_dp = 0;
        const size_t option = text.find("--tp", at);
        ASSERT_EQ(sscanf(text.c_str() + option, "--tp %d --dp %d", &fitting_tp, &fitting_dp), 2) << text;
        EXPECT_EQ(plan_layout({.tp = fitting_tp, .dp = fitting_dp}, offers).dp, fitting_dp);
      }
    }
  }
}

TEST(Layout, PlacesPerRankFillsTheRanksInOrder) {
  const LayoutPlan plan = plan_layout({.tp = 3, .places_per_rank = 4}, cluster({2}, 8));
  EXPECT_EQ(plan.dp, 2);
  EXPECT_EQ(ranks_of(plan), (Ints{0, 0, 0, 0, 1, 1}));
  EXPECT_NE(refusal({.places_per_rank = 9}, cluster({2}, 8)).find("--devices-per-rank 9"), std::string::npos);
  EXPECT_NE(refusal({.tp = 5, .places_per_rank = 2}, cluster({2}, 8)).find("at most 4"), std::string::npos);
}

TEST(Layout, SizesMustBePositiveAndPipelinesAreRefused) {
  EXPECT_EQ(refusal({.tp = 0}, cluster({1}, 1)), "--tp is 0, but must be from 1 to 1048576");
  EXPECT_NE(refusal({.dp = -1}, cluster({1}, 1)).find("--dp is -1"), std::string::npos);
  EXPECT_NE(refusal({.pp = 0}, cluster({1}, 1)).find("--pp is 0"), std::string::npos);
  EXPECT_NE(refusal({.threads_per_lane = 0}, cluster({1}, 1)).find("--threads-per-lane"), std::string::npos);
  EXPECT_NE(refusal({.pp = 2}, cluster({4}, 4)).find("pipeline parallelism is not built yet"), std::string::npos);
  EXPECT_NE(refusal({.tp = 1 << 20, .dp = 1 << 20}, cluster({1}, 1)).find("1099511627776 places"), std::string::npos);
}

TEST(Lanes, ThreadsPerLaneDivideThem) {
  EXPECT_EQ(plan_layout({.threads_per_lane = 4}, cluster({1}, 10)).lanes_of_replica, Ints{2});
  EXPECT_EQ(plan_layout({.threads_per_lane = 99}, cluster({1}, 10)).lanes_of_replica, Ints{1});
}

TEST(Lanes, BoundRanksHaveTheirCoresForThemselves) {
  std::vector<RankOffer> ranks = cluster({2}, 4);
  EXPECT_EQ(plan_layout({}, ranks).lanes_of_replica, (Ints{2, 2}));
  ranks[1].cpus = {4, 5, 6};
  EXPECT_EQ(plan_layout({}, ranks).lanes_of_replica, (Ints{4, 3}));
  EXPECT_EQ(plan_layout({.tp = 2}, ranks).lanes_of_replica, Ints{3});  // the least of the group
  EXPECT_EQ(plan_layout({}, ranks).description, "2 replicas of 1 place (tp 1) on 2 ranks of 1 host, 3 to 4 lanes each");
  EXPECT_EQ(plan_layout({}, cluster({3}, 7)).lanes_of_replica, Ints(3, 2));
  EXPECT_EQ(plan_layout({}, cluster({3}, 3)).lanes_of_replica, Ints(3, 1));
}

TEST(Lanes, AQuotaIsSharedByTheRanksOfAHost) {
  std::vector<RankOffer> ranks = cluster({2, 1}, 16);
  for (RankOffer& rank : ranks) {
    rank.quota_cores = 6.5;
  }
  EXPECT_EQ(plan_layout({}, ranks).lanes_of_replica, (Ints{3, 3, 6}));
  EXPECT_EQ(plan_layout({.cores_per_rank = 5}, ranks).lanes_of_replica, (Ints{5, 5, 5}));
}

TEST(Lanes, IdleRanksTakeNoCores) {
  EXPECT_EQ(plan_layout({.tp = 2, .dp = 1}, cluster({4}, 8)).lanes_of_replica, Ints{4});
}

}  // namespace
}  // namespace evalmpi::comm

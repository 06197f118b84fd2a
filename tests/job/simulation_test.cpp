#include <gtest/gtest.h>

#include <map>

#include "simulated_job.h"

namespace evalmpi::job {
namespace {

constexpr double kCostPerSecond = 1000;

// Prefixes of a few hundred tokens with items like a few-shot task's: up to 1,024 tokens, the last of each group
// smaller.
std::vector<SimulatedItem> few_shot_items(size_t count, uint64_t groups, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int64_t> prefix_cost;
  for (uint64_t i = 0; i < groups; ++i) prefix_cost.push_back(200 + static_cast<int64_t>(random() % 800));
  std::vector<SimulatedItem> items;
  while (items.size() < count) {
    // Some groups are several times as large as others.
    const uint64_t group = std::min(random() % groups, random() % groups);
    const bool is_small = random() % 8 == 0;
    const auto own = static_cast<int64_t>(is_small ? 100 + random() % 600 : 700 + random() % 324);
    items.push_back({{1, group}, prefix_cost[group] + own, prefix_cost[group]});
  }
  return items;
}

std::vector<SimulatedItem> plain_items(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<SimulatedItem> items;
  for (size_t i = 0; i < count; ++i) items.push_back({{}, 700 + static_cast<int64_t>(random() % 1500), 0});
  return items;
}

// The cost with every prefix computed once.
double least_cost(const std::vector<SimulatedItem>& items) {
  double cost = 0;
  std::map<Hash128, int64_t> prefixes;
  for (const SimulatedItem& item : items) {
    cost += static_cast<double>(item.cost - item.prefix_cost);
    prefixes[item.prefix] = item.prefix_cost;
  }
  for (const auto& [prefix, prefix_cost] : prefixes) cost += static_cast<double>(prefix_cost);
  return cost;
}

TEST(Simulation, sixty_items_a_worker_leave_hardly_a_worker_idle_and_few_prefixes_computed_twice) {
  for (const int workers : {1, 2, 4, 16, 100, 1000}) {
    const auto count = static_cast<size_t>(workers) * 60 + 20;
    const std::vector<SimulatedItem> few_shot = few_shot_items(count, 10 + count / 40, 3);
    const Simulated shared = SimulatedJob(workers, 1, kCostPerSecond, 5).run(few_shot);
    EXPECT_EQ(shared.completed, count);
    EXPECT_LE(shared.idle_share(workers), 0.02) << workers;
    EXPECT_LE(shared.cost, 1.05 * least_cost(few_shot)) << workers;

    const Simulated plain = SimulatedJob(workers, 1, kCostPerSecond, 5).run(plain_items(count, 4));
    EXPECT_EQ(plain.completed, count);
    EXPECT_LE(plain.idle_share(workers), 0.01) << workers;
  }
}

TEST(Simulation, one_replica_computes_each_prefix_once_with_any_number_of_workers) {
  const std::vector<SimulatedItem> items = few_shot_items(500, 20, 7);
  for (const int workers : {1, 2, 3, 8}) {
    const Simulated simulated = SimulatedJob(1, workers, kCostPerSecond, 8).run(items);
    EXPECT_EQ(simulated.completed, items.size());
    EXPECT_EQ(simulated.cost, least_cost(items)) << workers;
  }
}

// More workers than are useful: all items are done, and help never costs more than it brings.
TEST(Simulation, scarce_items_are_done_at_the_cost_of_at_most_as_much_again) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto items = few_shot_items(1 + random() % 60, 1 + random() % 6, seed);
    const int replicas = 1 + static_cast<int>(random() % 40);
    const Simulated simulated =
        SimulatedJob(replicas, 1 + static_cast<int>(random() % 4), kCostPerSecond, seed).run(items);
    EXPECT_EQ(simulated.completed, items.size());
    EXPECT_LE(simulated.cost, 2 * least_cost(items));
  }
}

}  // namespace
}  // namespace evalmpi::job

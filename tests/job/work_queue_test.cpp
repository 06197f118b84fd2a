#include "evalmpi/job/work_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <thread>

#include "evalmpi/base/error.h"

namespace evalmpi::job {
namespace {

constexpr Hash128 kA{0, 1};
constexpr Hash128 kB{0, 2};
constexpr Hash128 kNone{};

std::string take(WorkQueue& queue, int worker, const Hash128& held) {
  const std::optional<TakenItem> item = queue.take(worker, held);
  return item ? item->payload : "";
}

TEST(WorkQueue, costliest_first_then_in_order) {
  WorkQueue queue;
  EXPECT_EQ(queue.add({{"five", kNone, 5}, {"nine", kNone, 9}, {"five again", kNone, 5}}), 0u);
  EXPECT_EQ(queue.add({{"seven", kNone, 7}}), 3u);
  for (const char* expected : {"nine", "seven", "five", "five again", ""}) EXPECT_EQ(take(queue, 0, kNone), expected);
}

TEST(WorkQueue, a_worker_keeps_to_the_prefix_it_holds) {
  WorkQueue queue;
  queue.add({{"a3", kA, 3}, {"a1", kA, 1}, {"b9", kB, 9}, {"x8", kNone, 8}});
  EXPECT_EQ(take(queue, 0, kA), "a3") << "held, though b9 is larger";
  EXPECT_EQ(take(queue, 0, kA), "a1");
  EXPECT_EQ(take(queue, 0, kA), "x8") << "nothing of A is left, and nobody could help with this one";
  EXPECT_EQ(take(queue, 0, kA), "b9");
}

TEST(WorkQueue, a_group_without_workers_comes_before_a_larger_item_of_one_with) {
  WorkQueue queue;
  queue.add({{"a9", kA, 9}, {"a8", kA, 8}, {"b3", kB, 3}, {"b2", kB, 2}});
  EXPECT_EQ(take(queue, 0, kNone), "a9");
  EXPECT_EQ(take(queue, 1, kNone), "b3") << "A has a worker";
  EXPECT_EQ(take(queue, 2, kNone), "a8") << "every group has a worker: the largest item";
  EXPECT_EQ(take(queue, 1, kB), "b2");
}

TEST(WorkQueue, the_costliest_group_counts_all_its_items) {
  WorkQueue queue;
  queue.add({{"a5", kA, 5}, {"b3", kB, 3}, {"b4", kB, 4}, {"x6", kNone, 6}});
  EXPECT_EQ(take(queue, 0, kNone), "x6") << "nobody could help with it";
  EXPECT_EQ(take(queue, 1, kNone), "b4") << "B costs 7 in all";
  EXPECT_EQ(take(queue, 2, kNone), "a5");
}

TEST(WorkQueue, what_no_second_worker_could_help_with_is_begun_first) {
  WorkQueue queue;
  queue.add({{"a", kA, 100 + 60, 100}, {"a2", kA, 100 + 50, 100}, {"b", kB, 200 + 40, 200}, {"x", kNone, 90}});
  EXPECT_EQ(take(queue, 0, kNone), "b") << "its own 40 are worth less than its prefix";
  EXPECT_EQ(take(queue, 1, kNone), "x");
  EXPECT_EQ(take(queue, 2, kNone), "a") << "the costliest, but of two pieces";
}

TEST(WorkQueue, a_group_that_its_worker_left_is_free_again) {
  WorkQueue queue;
  queue.add({{"a9", kA, 9}, {"a8", kA, 8}, {"b7", kB, 7}, {"b1", kB, 1}});
  EXPECT_EQ(take(queue, 0, kNone), "a9");
  EXPECT_EQ(take(queue, 0, kB), "b7") << "it holds B now";
  EXPECT_EQ(take(queue, 1, kNone), "a8");
}

TEST(WorkQueue, workers_of_a_replica_join_the_group_that_one_of_them_is_on) {
  WorkQueue queue;
  queue.set_replicas({0, 0, 1});
  queue.add({{"a9", kA, 9}, {"a8", kA, 8}, {"a7", kA, 7}, {"b30", kB, 30}, {"b20", kB, 20}, {"b19", kB, 19}});
  EXPECT_EQ(take(queue, 2, kNone), "b30");
  EXPECT_EQ(take(queue, 0, kNone), "a9") << "a group of its own comes first";
  EXPECT_EQ(take(queue, 1, kNone), "a8") << "its neighbour's, though more is left of B";
  EXPECT_EQ(take(queue, 0, kA), "a7");
  EXPECT_EQ(take(queue, 1, kA), "b20") << "nothing is left near it";
}

TEST(WorkQueue, a_prefix_is_computed_again_only_for_a_share_that_is_worth_it) {
  WorkQueue queue;
  queue.add({{"a1", kA, 100 + 60, 100}, {"a2", kA, 100 + 60, 100}, {"a3", kA, 100 + 35, 100}});
  std::optional<TakenItem> item = queue.take(0, kNone);
  EXPECT_EQ(item->payload, "a1");
  EXPECT_EQ(item->cost, 160);
  EXPECT_FALSE(queue.take(1, kNone)) << "95 are left: 47 for each of two, and the prefix costs 100";
  queue.add({{"a4", kA, 100 + 5, 100}});
  EXPECT_EQ(take(queue, 1, kNone), "a2") << "now 100 are left";
  EXPECT_FALSE(queue.take(2, kNone));
  item = queue.take(0, kA);
  EXPECT_EQ(item->payload, "a3");
  EXPECT_EQ(item->cost, 35) << "it holds the prefix";
}

TEST(WorkQueue, the_group_of_a_worker_that_leaves_is_for_anyone) {
  WorkQueue queue;
  queue.set_replicas({0, 1});
  queue.add({{"a1", kA, 101, 100}, {"a2", kA, 101, 100}});
  EXPECT_EQ(take(queue, 0, kNone), "a1");
  EXPECT_EQ(take(queue, 1, kNone), "");
  queue.release(0);
  EXPECT_EQ(take(queue, 1, kNone), "a2");
  queue.release(1);
  queue.release(1);
}

TEST(WorkQueue, a_payload_is_made_when_it_is_handed_out_and_its_maker_is_let_go) {
  WorkQueue queue;
  const auto source = std::make_shared<const std::string>("made");
  int times = 0;
  queue.add({{{}, kA, 1, 0, [source, &times] { return ++times, *source; }}});
  EXPECT_EQ(times, 0);
  EXPECT_EQ(take(queue, 0, kNone), "made");
  EXPECT_EQ(times, 1);
  EXPECT_EQ(source.use_count(), 1);
}

TEST(WorkQueue, an_item_above_the_limit_stays) {
  WorkQueue queue;
  queue.add({{"nine", kNone, 9}});
  bool is_too_costly = false;
  EXPECT_FALSE(queue.take(0, kNone, 8, &is_too_costly));
  EXPECT_TRUE(is_too_costly);
  EXPECT_EQ(queue.counts().waiting, 1u);
  EXPECT_TRUE(queue.take(0, kNone, 9, &is_too_costly));
  EXPECT_FALSE(is_too_costly);
}

TEST(WorkQueue, drained_and_finished) {
  WorkQueue queue;
  queue.add({{"a", kA, 1}, {"b", kB, 2}});
  const uint64_t first = queue.take(0, kNone)->id;
  const uint64_t second = queue.take(1, kNone)->id;
  EXPECT_FALSE(queue.is_drained()) << "more may be added";
  queue.close();
  EXPECT_TRUE(queue.is_drained());
  EXPECT_FALSE(queue.is_finished());
  EXPECT_TRUE(queue.complete(first));
  EXPECT_FALSE(queue.complete(first)) << "a record that comes twice";
  queue.abandon(second);
  EXPECT_TRUE(queue.is_finished());
  queue.wait_until_finished();
  EXPECT_EQ(queue.counts().completed, 1u);
  EXPECT_EQ(queue.counts().abandoned, 1u);
  EXPECT_EQ(queue.counts().cost_completed, 2);
  EXPECT_THROW(queue.add({{"c", kA, 1}}), Error);
  EXPECT_THROW(queue.complete(7), Error);
}

TEST(WorkQueue, stop_ends_the_hand_out_and_waits_for_what_is_in_flight) {
  WorkQueue queue;
  queue.add({{"a", kA, 1}, {"b", kB, 2}});
  const uint64_t id = queue.take(0, kNone)->id;
  queue.stop();
  EXPECT_FALSE(queue.take(1, kNone));
  EXPECT_FALSE(queue.is_finished());
  queue.complete(id);
  queue.wait_until_finished();
  EXPECT_EQ(queue.counts().waiting, 1u);
}

TEST(WorkQueue, eight_threads_get_each_item_once) {
  constexpr uint64_t kItems = 20'000;
  WorkQueue queue;
  std::vector<std::atomic<int>> times(kItems);
  std::vector<std::thread> threads;
  for (int worker = 0; worker < 8; ++worker) {
    threads.emplace_back([&, worker] {
      Hash128 held;
      while (!queue.is_drained()) {
        const std::optional<TakenItem> item = queue.take(worker, held);
        if (!item) continue;
        EXPECT_EQ(item->payload, std::to_string(item->id));
        held = item->prefix;
        times[item->id] += 1;
        EXPECT_TRUE(queue.complete(item->id));
      }
    });
  }
  std::mt19937 random(3);
  for (uint64_t id = 0; id < kItems;) {
    std::vector<WorkItem> batch;
    for (int i = 0; i < 100; ++i, ++id) {
      batch.push_back({std::to_string(id), {0, random() % 50}, static_cast<int64_t>(random() % 1000)});
    }
    queue.add(std::move(batch));
  }
  queue.close();
  queue.wait_until_finished();
  for (std::thread& thread : threads) thread.join();
  for (const std::atomic<int>& count : times) EXPECT_EQ(count, 1);
}

TEST(WorkQueue, what_is_checked_goes_to_another_replica_afterwards) {
  WorkQueue queue;
  queue.set_replicas({0, 0, 1});
  queue.add({{"a9", kA, 9, 6, {}, true}, {"x1", kNone, 1}});
  queue.close();
  const std::optional<TakenItem> first = queue.take(0, kNone);
  EXPECT_EQ(first->payload, "a9");
  EXPECT_TRUE(queue.is_checked(first->id));
  EXPECT_EQ(take(queue, 1, kNone), "x1");
  EXPECT_EQ(take(queue, 2, kNone), "");
  EXPECT_FALSE(queue.is_drained()) << "the second look is still to come";
  EXPECT_TRUE(queue.complete(first->id));
  EXPECT_FALSE(queue.is_finished());
  EXPECT_EQ(take(queue, 1, kNone), "") << "of the same replica";
  const std::optional<TakenItem> second = queue.take(2, kNone);
  EXPECT_EQ(second->payload, "a9");
  EXPECT_EQ(second->checks, first->id);
  EXPECT_EQ(queue.checks(second->id), first->id);
  EXPECT_EQ(second->cost, 9) << "with its prefix";
  EXPECT_TRUE(queue.is_drained());
  EXPECT_TRUE(queue.complete(1));
  EXPECT_TRUE(queue.complete(second->id));
  EXPECT_TRUE(queue.is_finished());
  EXPECT_EQ(queue.counts().completed, 3u);
}

TEST(WorkQueue, one_replica_checks_with_another_worker_and_one_worker_with_itself) {
  WorkQueue lanes;
  lanes.set_replicas({0, 0});
  lanes.add({{"a", kNone, 1, 0, {}, true}});
  lanes.complete(lanes.take(0, kNone)->id);
  EXPECT_EQ(take(lanes, 0, kNone), "");
  EXPECT_EQ(take(lanes, 1, kNone), "a");
  WorkQueue alone;
  alone.set_replicas({0});
  alone.add({{"a", kNone, 1, 0, {}, true}});
  alone.complete(alone.take(0, kNone)->id);
  EXPECT_EQ(take(alone, 0, kNone), "a");
}

TEST(WorkQueue, what_is_given_up_is_not_checked) {
  WorkQueue queue;
  queue.add({{"a", kNone, 1, 0, {}, true}});
  queue.close();
  queue.abandon(queue.take(0, kNone)->id);
  EXPECT_TRUE(queue.is_finished());
}

}  // namespace
}  // namespace evalmpi::job

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>

#include "evalmpi/job/coordinator.h"
#include "evalmpi/job/worker.h"
#include "simulated_cluster.h"
#include "virtual_network.h"

namespace evalmpi::job {
namespace {

uint64_t number_from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// EVALMPI_SIMULATION_SEEDS says how many, EVALMPI_SIMULATION_FIRST from where: a failing seed alone is
// EVALMPI_SIMULATION_SEEDS=1 EVALMPI_SIMULATION_FIRST=<seed>.
TEST(Cluster, every_item_is_in_the_result_once_whatever_happens) {
  const uint64_t seeds = number_from_environment("EVALMPI_SIMULATION_SEEDS", 3'000);
  const uint64_t first = number_from_environment("EVALMPI_SIMULATION_FIRST", 0);
  ClusterHistory total;
  const std::clock_t start = std::clock();
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    try {
      const ClusterHistory history = run_simulated_cluster(seed);
      total.items += history.items;
      total.computed += history.computed;
      total.attempts += history.attempts;
      total.attempts_by_kill += history.attempts_by_kill;
      total.events += history.events;
      total.virtual_seconds += history.virtual_seconds;
    } catch (const Violation& violation) {
      FAIL() << "seed " << seed << ": " << violation.what();
    }
  }
  std::printf(
      "%llu seeds in %.1f s: %llu items computed %llu times in %d attempts (%d ended by kills), %llu events, "
      "%.0f virtual seconds\n",
      static_cast<unsigned long long>(seeds), static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC,
      static_cast<unsigned long long>(total.items), static_cast<unsigned long long>(total.computed), total.attempts,
      total.attempts_by_kill, static_cast<unsigned long long>(total.events), total.virtual_seconds);
  // The faults do happen.
  EXPECT_GT(total.attempts_by_kill, static_cast<int>(seeds / 10));
  EXPECT_GT(total.computed, total.items);
}

TEST(Cluster, a_seed_replays_exactly) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const ClusterHistory first = run_simulated_cluster(seed);
    const ClusterHistory second = run_simulated_cluster(seed);
    EXPECT_EQ(first.trace, second.trace) << seed;
    EXPECT_EQ(first.events, second.events) << seed;
  }
}

double thread_cpu_seconds() {
  std::timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Prints what the coordinator costs a core when 1,000 replicas each end a chunk a second, with chunks of 64 KiB and
// records of 4 KiB; the last second is the tail, in which busy workers get nothing ahead.
TEST(Cluster, a_thousand_replicas_are_served_in_virtual_time) {
  constexpr int kReplicas = 1'000;
  constexpr int kChunksEach = 10;
  const std::string record(4 << 10, 'r');
  Timeline time;
  Random random(1);
  WorkQueue queue;
  StopFlag stop;
  std::vector<WorkItem> items;
  for (int i = 0; i < kReplicas * kChunksEach; ++i) {
    items.push_back(
        {"", {1, random.below(300)}, random.between(700, 1300), 100, [] { return std::string(64 << 10, 'c'); }});
  }
  queue.add(std::move(items));
  queue.close();

  std::vector<std::unique_ptr<WorkerClient>> workers;
  std::function<void()> serve;
  std::function<void(size_t)> look;
  uint64_t turn = 0;
  std::vector<bool> is_waiting(kReplicas, false);
  VirtualNetwork network(time, kReplicas, 2, 1e-3, [&](int, int tag) {
    if (tag < 1024) return time.after(0, [&, mine = ++turn] { return mine == turn ? serve() : void(); });
    if (const auto id = static_cast<size_t>(tag - 1024); is_waiting[id]) look(id);
  });
  std::vector<comm::MessagePort> ports;
  for (int rank = 0; rank < kReplicas; ++rank) ports.push_back(network.port(rank));

  CoordinatorOptions options;
  options.num_workers = kReplicas;
  options.now = [&] { return time.now(); };
  uint64_t records = 0;
  options.on_record = [&](const Receipt& receipt) { records += receipt.record == record; };
  Coordinator coordinator(ports[0], queue, stop, std::move(options));
  double cpu_seconds = 0;
  bool goes_on = true;
  serve = [&] {
    const double before = thread_cpu_seconds();
    goes_on = coordinator.serve_once();
    cpu_seconds += thread_cpu_seconds() - before;
    if (goes_on)
      time.at(time.now() + network.last_patience(), [&, mine = ++turn] { return mine == turn ? serve() : void(); });
  };
  look = [&](size_t id) {
    is_waiting[id] = !workers[id]->wait(std::chrono::milliseconds(0));
    if (is_waiting[id]) return;
    const std::optional<Item> item = workers[id]->next();
    if (!item) return;
    const double seconds = random.real(0.7, 1.3);
    time.after(seconds, [&, id, seconds, done = Item{item->id, item->prefix, {}}] {
      workers[id]->finished(done, seconds, record, "log", {});
      look(id);
    });
  };
  for (int id = 0; id < kReplicas; ++id) {
    workers.push_back(std::make_unique<WorkerClient>(ports[static_cast<size_t>(id)], id, 0, stop));
    time.after(random.real(0, 1), [&, id] { look(static_cast<size_t>(id)); });
  }
  time.after(0, [&] { serve(); });
  while (goes_on && time.run_next()) {
  }
  EXPECT_EQ(records, static_cast<uint64_t>(kReplicas) * kChunksEach);
  const double virtual_seconds = std::chrono::duration<double>(time.now().time_since_epoch()).count();
  std::printf("%d replicas, %.1f virtual seconds: the coordinator takes %.2f s, %.1f %% of a core\n", kReplicas,
              virtual_seconds, cpu_seconds, 100 * cpu_seconds / virtual_seconds);
}

}  // namespace
}  // namespace evalmpi::job

#include "evalmpi/job/coordinator.h"

#include <gtest/gtest.h>

#include <barrier>
#include <map>
#include <random>
#include <thread>

#include "evalmpi/base/error.h"
#include "evalmpi/comm/message_port.h"
#include "evalmpi/job/worker.h"
#include "wire.h"

namespace evalmpi::job {
namespace {

using Clock = std::chrono::steady_clock;

// A job in one process: rank 0 coordinates and works too. `work` is what a worker does with an item.
struct Cluster {
  explicit Cluster(int num_ranks, int lanes) : ports(comm::MessagePort::connected(num_ranks)), lanes_per_rank(lanes) {}

  int num_workers() const { return static_cast<int>(ports.size()) * lanes_per_rank; }

  using Work = std::function<void(WorkerClient& client, int worker, const Item& item)>;
  static void report(WorkerClient& client, int worker, const Item& item) {
    client.finished(item, 0.001, "record of " + item.payload, "log" + std::to_string(worker),
                    {item.id * 100, static_cast<uint32_t>(item.payload.size()), static_cast<uint32_t>(worker)});
  }

  void start_workers(const Work& work) {
    for (int worker = 0; worker < num_workers(); ++worker) {
      threads.emplace_back([this, worker, work] {
        const auto rank = static_cast<size_t>(worker / lanes_per_rank);
        WorkerClient client(ports[rank], worker, 0, stop_of_rank(rank));
        while (const std::optional<Item> item = client.next()) work(client, worker, *item);
      });
    }
  }

  void join_workers() {
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }

  CoordinatorOptions options() {
    CoordinatorOptions options;
    options.num_workers = num_workers();
    options.on_record = [this](Receipt receipt) {
      const uint64_t item = receipt.item;
      receipts[item].push_back(std::move(receipt));
    };
    return options;
  }

  StopFlag& stop_of_rank(size_t rank) { return rank == 0 ? stop : other_stop; }

  std::vector<comm::MessagePort> ports;
  int lanes_per_rank;
  WorkQueue queue;
  StopFlag stop;                                      // of rank 0
  StopFlag other_stop;                                // of the others
  std::map<uint64_t, std::vector<Receipt>> receipts;  // service thread, main thread after join()
  std::vector<std::thread> threads;
};

std::vector<WorkItem> random_items(int count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<WorkItem> items;
  for (int i = 0; i < count; ++i) {
    items.push_back({"item" + std::to_string(i), {0, random() % 20}, static_cast<int64_t>(random() % 1000)});
  }
  return items;
}

TEST(Coordinator, every_record_arrives_once_for_any_number_of_workers) {
  for (const auto& [ranks, lanes] : {std::pair{1, 1}, std::pair{1, 4}, std::pair{4, 1}, std::pair{3, 2}}) {
    Cluster cluster(ranks, lanes);
    cluster.start_workers([](WorkerClient& client, int worker, const Item& item) {
      std::mt19937 random(static_cast<unsigned>(item.id));
      for (unsigned i = random() % 50; i > 0; --i) std::this_thread::yield();
      Cluster::report(client, worker, item);
    });
    cluster.queue.add(random_items(500, 1));
    CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, cluster.options());
    cluster.queue.add(random_items(500, 2));  // planned while work is running
    cluster.queue.close();
    coordinator.join();
    cluster.join_workers();
    ASSERT_EQ(cluster.receipts.size(), 1000u);
    for (const auto& [item, receipts] : cluster.receipts) {
      ASSERT_EQ(receipts.size(), 1u);
      const Receipt& receipt = receipts[0];
      EXPECT_EQ(receipt.record, "record of item" + std::to_string(item % 500));
      EXPECT_EQ(receipt.log_name, "log" + std::to_string(receipt.worker));
      EXPECT_EQ(receipt.position.offset, item * 100);
      EXPECT_EQ(receipt.position.crc, static_cast<uint32_t>(receipt.worker));
      EXPECT_GE(receipt.seconds, 0);
    }
    EXPECT_TRUE(cluster.queue.is_finished());
    EXPECT_FALSE(coordinator.stopped_by_deadline());
  }
}

TEST(Coordinator, nothing_to_do_ends_at_once) {
  Cluster cluster(2, 1);
  cluster.queue.close();
  cluster.start_workers([](WorkerClient&, int, const Item&) { FAIL(); });
  CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, cluster.options());
  coordinator.join();
  cluster.join_workers();
}

// The next item lies at the worker before it has ended the present one.
TEST(Coordinator, a_worker_is_served_ahead) {
  Cluster cluster(1, 1);
  cluster.queue.add(random_items(3, 1));
  cluster.queue.close();
  CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, cluster.options());
  bool is_first = true;
  cluster.start_workers([&](WorkerClient& client, int worker, const Item& item) {
    if (std::exchange(is_first, false)) {
      while (cluster.queue.counts().in_flight < 2) std::this_thread::yield();
    }
    Cluster::report(client, worker, item);
  });
  coordinator.join();
  cluster.join_workers();
  EXPECT_EQ(cluster.receipts.size(), 3u);
}

// The last items go to workers that are free, not behind one that is busy.
TEST(Coordinator, the_tail_is_not_handed_out_ahead) {
  Cluster cluster(1, 2);
  cluster.queue.add({{"long", {}, 100}, {"short", {}, 1}, {"short", {}, 1}});
  cluster.queue.close();
  CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, cluster.options());
  cluster.start_workers([&](WorkerClient& client, int worker, const Item& item) {
    if (item.payload == "long") {
      while (cluster.queue.counts().completed < 2) std::this_thread::yield();
    }
    Cluster::report(client, worker, item);
  });
  coordinator.join();
  cluster.join_workers();
  EXPECT_EQ(cluster.receipts.size(), 3u);
  EXPECT_EQ(cluster.receipts[1][0].worker, cluster.receipts[2][0].worker);
}

TEST(Coordinator, stop_after_chunk_keeps_what_is_in_hand_and_drops_what_was_sent_ahead) {
  Cluster cluster(2, 1);
  cluster.queue.add(random_items(100, 1));
  cluster.queue.close();
  CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, cluster.options());
  std::barrier both(2);
  std::atomic<int> begun{0};
  cluster.start_workers([&](WorkerClient& client, int worker, const Item& item) {
    begun += 1;
    while (cluster.queue.counts().in_flight < 4) std::this_thread::yield();
    both.arrive_and_wait();
    cluster.stop.request(Stop::kAfterChunk);
    while (!cluster.queue.is_drained()) std::this_thread::yield();  // the other rank has been told
    EXPECT_FALSE(client.stop_now());
    Cluster::report(client, worker, item);
  });
  coordinator.join();
  cluster.join_workers();
  EXPECT_EQ(begun, 2);
  EXPECT_EQ(cluster.receipts.size(), 2u);
  EXPECT_EQ(cluster.queue.counts().completed, 2u);
  EXPECT_EQ(cluster.queue.counts().abandoned, 2u);
  EXPECT_TRUE(cluster.queue.is_finished());
}

// TERM reaches rank 1 only; everybody stops, the chunk in hand is dropped.
TEST(Coordinator, a_signal_at_any_rank_stops_all_ranks) {
  Cluster cluster(3, 1);
  cluster.queue.add(random_items(100, 1));
  cluster.queue.close();
  CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, cluster.options());
  std::barrier all(3);
  cluster.start_workers([&](WorkerClient& client, int worker, const Item&) {
    all.arrive_and_wait();
    if (worker == 1) cluster.other_stop.request(Stop::kNow, 15);
    while (!client.stop_now()) std::this_thread::yield();
  });
  coordinator.join();
  cluster.join_workers();
  EXPECT_TRUE(cluster.receipts.empty());
  EXPECT_EQ(cluster.queue.counts().in_flight, 0u);
}

TEST(Coordinator, a_deadline_that_has_passed_stops_all) {
  Cluster cluster(2, 1);
  cluster.queue.add(random_items(100, 1));
  cluster.queue.close();
  CoordinatorOptions options = cluster.options();
  options.deadline = Clock::now() - std::chrono::seconds(1);
  CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, std::move(options));
  cluster.start_workers([](WorkerClient&, int, const Item&) { FAIL() << "nothing may begin"; });
  coordinator.join();
  cluster.join_workers();
  EXPECT_TRUE(coordinator.stopped_by_deadline());
}

// The wire is spoken by hand, so that the seconds that items took are ours to say.
struct HandWorker {
  comm::MessagePort& port;
  int id;
  void ask() {
    port.post(0, wire::kToCoordinator, wire::start_message(wire::Kind::kRequest, id).put(Hash128{}).take());
  }
  void finish(uint64_t item, double seconds) {
    ByteWriter message = wire::start_message(wire::Kind::kReceipt, id);
    message.put(item).put(seconds).put_text("log").put(uint64_t{0}).put(uint32_t{0}).put(uint32_t{0}).put_text("r");
    port.post(0, wire::kToCoordinator, message.take());
  }
  void leave() {
    port.post(0, wire::kToCoordinator, wire::start_message(wire::Kind::kLeave, id).put(uint8_t{0}).take());
  }
  // The item's id, or nothing when the coordinator ends.
  std::optional<uint64_t> receive() {
    const auto message = port.receive(wire::kToWorker + id, std::chrono::minutes(1));
    if (!message) throw std::runtime_error("no answer from the coordinator");
    ByteReader reader(message->bytes, "answer");
    if (wire::read_head(reader).kind == wire::Kind::kEnd) return std::nullopt;
    return reader.get<uint64_t>();
  }
};

// A lane looks for its next item while records of earlier ones are still being written; their receipts must not come
// after the word that it leaves.
TEST(WorkerClient, looking_for_an_item_never_leaves) {
  std::vector<comm::MessagePort> ports = comm::MessagePort::connected(2);
  StopFlag stop;
  WorkerClient client(ports[1], 0, 0, stop);
  EXPECT_FALSE(client.next_if_here());
  ports[0].post(1, wire::kToWorker,
                wire::start_message(wire::Kind::kItem, 0).put(uint64_t{7}).put(Hash128{}).put_text("p").take());
  stop.request(Stop::kAfterChunk);
  EXPECT_FALSE(client.next_if_here());
  const auto next_kind = [&]() -> std::optional<wire::Kind> {
    const auto message = ports[0].receive(wire::kToCoordinator, std::chrono::milliseconds(0));
    if (!message) return std::nullopt;
    ByteReader reader(message->bytes, "message");
    return wire::read_head(reader).kind;
  };
  EXPECT_EQ(next_kind(), wire::Kind::kRequest);
  EXPECT_EQ(next_kind(), std::nullopt);
  EXPECT_FALSE(client.next());
  EXPECT_EQ(next_kind(), wire::Kind::kLeave);
}

TEST(Coordinator, an_item_that_would_end_after_the_deadline_is_not_begun) {
  Cluster cluster(1, 1);
  cluster.queue.add({{"first", {}, 200}, {"second", {}, 100}});
  CoordinatorOptions options = cluster.options();
  options.deadline = Clock::now() + std::chrono::hours(1);
  CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, std::move(options));
  HandWorker worker{cluster.ports[0], 0};
  worker.ask();
  EXPECT_EQ(worker.receive(), 0u);
  worker.finish(0, 10 * 3600.0);  // so half as much takes five hours
  worker.ask();
  EXPECT_EQ(worker.receive(), std::nullopt);
  worker.leave();
  coordinator.join();
  EXPECT_TRUE(coordinator.stopped_by_deadline());
  EXPECT_EQ(cluster.queue.counts().waiting, 1u);
}

TEST(Coordinator, a_receipt_that_comes_twice_is_one_record) {
  Cluster cluster(1, 1);
  cluster.queue.add({{"only", {}, 1}});
  cluster.queue.close();
  CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, cluster.options());
  HandWorker worker{cluster.ports[0], 0};
  worker.ask();
  EXPECT_EQ(worker.receive(), 0u);
  worker.finish(0, 1);
  worker.finish(0, 1);
  worker.leave();
  coordinator.join();
  EXPECT_EQ(cluster.receipts[0].size(), 1u);
}

TEST(Coordinator, a_failure_while_recording_halts_the_workers_and_is_thrown_by_join) {
  Cluster cluster(3, 1);
  cluster.queue.add(random_items(1000, 1));
  cluster.queue.close();
  CoordinatorOptions options = cluster.options();
  options.on_record = [](const Receipt&) { fail(ExitCode::kIo, "the disk is full"); };
  CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, std::move(options));
  cluster.start_workers(Cluster::report);
  cluster.join_workers();
  try {
    coordinator.join();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo);
  }
  EXPECT_LT(cluster.queue.counts().completed, 1000u);
}

TEST(Coordinator, a_message_of_another_version_or_a_cut_one_ends_the_service) {
  for (const std::string& bytes : {std::string("\x02\x01\0\0\0\0", 6), std::string("\x01\x01\0\0", 4), std::string(),
                                   std::string("\x01\x01\x09\0\0\0", 6)}) {
    Cluster cluster(1, 1);
    CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, cluster.options());
    cluster.ports[0].post(0, wire::kToCoordinator, bytes);
    HandWorker worker{cluster.ports[0], 0};
    worker.leave();
    EXPECT_THROW(coordinator.join(), Error);
  }
}

TEST(Coordinator, is_destroyed_without_waiting_for_workers_that_never_came) {
  Cluster cluster(2, 1);
  const CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, cluster.options());
}

TEST(Coordinator, ticks_while_it_serves) {
  Cluster cluster(1, 1);
  std::atomic<int> ticks{0};
  CoordinatorOptions options = cluster.options();
  options.on_tick = [&] { ++ticks; };
  CoordinatorThread coordinator(cluster.ports[0], cluster.queue, cluster.stop, std::move(options));
  while (ticks == 0) std::this_thread::yield();
  cluster.queue.close();
  cluster.start_workers(Cluster::report);
  coordinator.join();
  cluster.join_workers();
}

}  // namespace
}  // namespace evalmpi::job

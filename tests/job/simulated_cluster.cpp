#include "simulated_cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/job/coordinator.h"
#include "evalmpi/job/worker.h"
#include "virtual_network.h"

namespace evalmpi::job {
namespace {

constexpr double kSlowestMessageSeconds = 0.3;
constexpr double kLauncherKillsAfterSeconds = 10;  // the other ranks, when one has died
constexpr int kAttemptsWithFaults = 6;

template <typename... Args>
void require(bool holds, fmt::format_string<Args...> what, Args&&... args) {
  if (!holds) throw Violation(fmt::format(what, std::forward<Args>(args)...));
}

// What outlives an attempt: the items, the durable logs, and what has been seen so far.
struct Job {
  struct Item {
    WorkItem work;
    bool is_accepted = false;
    bool was_durable_before = false;  // when the present attempt began
    int in_logs = 0;                  // records
  };

  static std::string value_of(size_t key) { return fmt::format("{}:{:x}", key, (key + 1) * 0x9e3779b97f4a7c15ull); }
  static size_t key_of(const std::string& record) { return std::stoul(record); }

  void note(uint64_t what) { history.trace = (history.trace ^ what) * 0x100000001b3ull + 1; }

  std::vector<Item> items;
  ClusterHistory history;
};

// A lane's thread and its record keeper's, as eval runs them.
struct SimulatedWorker {
  enum class State { kLooking, kDraining, kWaiting, kComputing, kLeft };
  struct Kept {
    Item item;
    double seconds;
  };

  int rank = 0;
  State state = State::kLooking;
  std::unique_ptr<WorkerClient> client;
  Item item;  // in hand
  double item_seconds = 0;
  std::deque<Kept> keeping;  // the first is being written
  uint64_t lane_turn = 0;    // a wake-up of an earlier turn is void
};

struct SimulatedRank {
  std::optional<comm::MessagePort> port;
  StopFlag stop;
  bool is_dead = false;
  VirtualTime frozen_until{};
  double cost_per_second = 0;
  double fsync_seconds = 0;
  std::vector<std::string> log;
};

class SimulatedAttempt {
 public:
  SimulatedAttempt(Job& job, Random& random, Timeline& time)
      : job_(job),
        random_(random),
        time_(time),
        ranks_(static_cast<size_t>(random.between(1, 8))),
        network_(time, static_cast<int>(ranks_.size()), random.below(UINT64_MAX),
                 random.spread(1e-4, kSlowestMessageSeconds), [this](int rank, int tag) { arrived(rank, tag); }) {
    has_faults_ = job.history.attempts < kAttemptsWithFaults;
    start_ranks();
    start_coordinator();
    start_planning();
    if (has_faults_) plan_faults();
  }

  // True when the job is complete.
  bool run() {
    time_.after(0, [this] { step_coordinator(); });
    for (size_t id = 0; id < workers_.size(); ++id) wake_lane(id, random_.spread(1e-4, 1));
    const VirtualTime latest = time_.now() + seconds_span(longest_seconds());
    while (!is_over()) {
      require(time_.run_next(), "nothing can happen any more: {}", status());
      require(time_.now() < latest, "the attempt does not end: {}", status());
    }
    check_end();
    return std::all_of(job_.items.begin(), job_.items.end(), [](const Job::Item& item) { return item.in_logs > 0; });
  }

 private:
  void start_ranks() {
    const int lanes = random_.between(1, 3);
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      SimulatedRank& r = ranks_[rank];
      r.port.emplace(network_.port(static_cast<int>(rank)));
      r.cost_per_second = random_.spread(2e3, 2e4) / (random_.chance(0.1) ? 20 : 1);
      r.fsync_seconds = random_.spread(1e-5, 0.1);
      for (int lane = 0; lane < lanes; ++lane) {
        replica_of_worker_.push_back(static_cast<int>(rank));
        SimulatedWorker& worker = workers_.emplace_back();
        worker.rank = static_cast<int>(rank);
        worker.client = std::make_unique<WorkerClient>(*r.port, static_cast<int>(workers_.size()) - 1, 0, r.stop);
      }
    }
  }

  void start_coordinator() {
    CoordinatorOptions options;
    options.num_workers = static_cast<int>(workers_.size());
    if (random_.chance(0.8)) options.replica_of_worker = replica_of_worker_;
    options.now = [this] { return time_.now(); };
    options.on_record = [this](const Receipt& receipt) { accept(receipt); };
    options.on_tick = [] {};
    if (has_faults_ && random_.chance(0.2)) {
      has_deadline_ = true;
      options.deadline = time_.now() + seconds_span(random_.real(0, 1.5 * likely_seconds()));
      stop_at(*options.deadline);
    }
    if (has_faults_ && random_.chance(0.05)) fails_at_record_ = random_.below(job_.items.size());
    coordinator_.emplace(*ranks_[0].port, queue_, ranks_[0].stop, std::move(options));
  }

  // Rank 0 plans while work is running.
  void start_planning() {
    for (size_t key = 0; key < job_.items.size(); ++key) {
      job_.items[key].was_durable_before = job_.items[key].in_logs > 0;
      if (!job_.items[key].was_durable_before) key_of_item_.push_back(key);
    }
    for (size_t i = key_of_item_.size(); i > 1; --i) std::swap(key_of_item_[i - 1], key_of_item_[random_.below(i)]);
    was_handed_out_.resize(key_of_item_.size());
    const auto batches = static_cast<size_t>(random_.between(1, 4));
    double when = 0;
    for (size_t batch = 0; batch < batches; ++batch) {
      const size_t first = key_of_item_.size() * batch / batches;
      const size_t last = key_of_item_.size() * (batch + 1) / batches;
      when += random_.spread(1e-4, 1);
      time_.after(when, [this, first, last] { plan(first, last); });
    }
    planned_seconds_ = when + 1e-4;
    time_.after(planned_seconds_, [this] {
      if (!ranks_[0].is_dead) queue_.close();
    });
  }

  void plan(size_t first, size_t last) {
    if (ranks_[0].is_dead || first == last) return;
    std::vector<WorkItem> items;
    for (size_t i = first; i < last; ++i) {
      WorkItem work = job_.items[key_of_item_[i]].work;
      if (random_.chance(0.5)) work.make_payload = [payload = std::exchange(work.payload, "")] { return payload; };
      items.push_back(std::move(work));
    }
    require(queue_.add(std::move(items)) == first, "the queue gives other ids than consecutive ones");
  }

  void plan_faults() {
    const auto some_time = [this] { return random_.real(0, 1.2 * likely_seconds()); };
    const auto some_rank = [this] { return static_cast<size_t>(random_.below(ranks_.size())); };
    if (random_.chance(0.35)) {
      const size_t rank = some_rank();
      time_.after(some_time(), [this, rank] { kill_one(rank); });
    }
    if (random_.chance(0.1)) {
      time_.after(some_time(), [this] {
        for (size_t rank = 0; rank < ranks_.size(); ++rank) kill(rank);
      });
    }
    for (int i = random_.between(0, 3); i > 0; --i) {
      const size_t rank = some_rank();
      const double span = random_.spread(0.01, 5);
      frozen_seconds_ += span;
      time_.after(some_time(), [this, rank, span] {
        ranks_[rank].frozen_until = std::max(ranks_[rank].frozen_until, time_.now() + seconds_span(span));
      });
    }
    if (random_.chance(0.2)) {
      const size_t rank = some_rank();
      const Stop how = random_.chance(0.5) ? Stop::kNow : Stop::kAfterChunk;
      time_.after(some_time(), [this, rank, how] {
        if (ranks_[rank].is_dead) return;
        ranks_[rank].stop.request(how);
        stop_at(time_.now());
      });
    }
    if (random_.chance(0.03)) {
      time_.after(some_time(), [this] {
        if (ranks_[0].is_dead) return;
        coordinator_->give_up();  // rank 0 has failed elsewhere, so the job is aborted
        abort_soon();
      });
    }
  }

  void stop_at(VirtualTime when) {
    was_stopped_ = true;
    stopped_at_ = std::min(stopped_at_, when);
  }

  void kill_one(size_t rank) {
    kill(rank);
    abort_soon();
  }

  void abort_soon() {
    was_aborted_ = true;
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      time_.after(random_.real(0, kLauncherKillsAfterSeconds), [this, rank] { kill(rank); });
    }
  }

  void kill(size_t rank) {
    if (ranks_[rank].is_dead || is_over()) return;
    job_.note(1'000 + rank);
    ranks_[rank].is_dead = true;
    network_.kill(static_cast<int>(rank));
    num_dead_ += 1;
  }

  // Runs `what` now, or when the rank goes on after it was frozen, or never.
  template <typename What>
  void run_on(int rank, What what) {
    const SimulatedRank& r = ranks_[static_cast<size_t>(rank)];
    if (r.is_dead) return;
    if (time_.now() < r.frozen_until) {
      time_.at(r.frozen_until, [this, rank, what] { run_on(rank, what); });
    } else {
      what();
    }
  }

  void arrived(int rank, int tag) {
    if (tag < kFirstWorkerTag) {
      wake_coordinator(std::max(time_.now(), coordinator_busy_until_));
    } else {
      const auto id = static_cast<size_t>(tag - kFirstWorkerTag);
      require(workers_[id].rank == rank, "a message for worker {} reached rank {}", id, rank);
      if (workers_[id].state == SimulatedWorker::State::kWaiting) wake_lane(id, 0);
    }
  }

  void wake_coordinator(VirtualTime when) {
    time_.at(when, [this, turn = ++coordinator_turn_] {
      if (turn == coordinator_turn_) run_on(0, [this] { step_coordinator(); });
    });
  }

  void step_coordinator() {
    if (has_ended_) return;
    network_.forget_patience();
    const bool goes_on = coordinator_->serve_once();
    throw_if_violated();
    if (!goes_on) {
      has_ended_ = true;
      ended_at_ = time_.now();
      return;
    }
    const VirtualSpan patience = network_.last_patience();
    coordinator_busy_until_ = time_.now() + seconds_span(random_.spread(1e-6, 1e-3));
    wake_coordinator(std::max(coordinator_busy_until_, time_.now() + patience));
  }

  // What accept() found; other failures are the coordinator's to deal with.
  void throw_if_violated() const {
    if (!coordinator_->failure()) return;
    try {
      std::rethrow_exception(coordinator_->failure());
    } catch (const Error&) {
    }
  }

  void wake_lane(size_t id, double seconds) {
    time_.after(seconds, [this, id, turn = ++workers_[id].lane_turn] {
      run_on(workers_[id].rank, [this, id, turn] {
        if (turn == workers_[id].lane_turn) step_lane(id);
      });
    });
  }

  // As eval's lane: next_if_here(), else wait for the record keeper, then next().
  void step_lane(size_t id) {
    SimulatedWorker& worker = workers_[id];
    constexpr double kLookAgainSeconds = 0.05;
    switch (worker.state) {
      case SimulatedWorker::State::kLooking:
        if (std::optional<Item> item = worker.client->next_if_here()) return begin(id, std::move(*item));
        worker.state = SimulatedWorker::State::kDraining;
        [[fallthrough]];
      case SimulatedWorker::State::kDraining:
        if (!worker.keeping.empty()) return;  // its end wakes the lane
        worker.state = SimulatedWorker::State::kWaiting;
        return wake_lane(id, random_.spread(1e-6, 1e-3));
      case SimulatedWorker::State::kWaiting:
        if (!worker.client->wait(std::chrono::milliseconds(0))) return wake_lane(id, kLookAgainSeconds);
        if (std::optional<Item> item = worker.client->next()) return begin(id, std::move(*item));
        worker.state = SimulatedWorker::State::kLeft;
        job_.note(2'000 + id);
        return;
      case SimulatedWorker::State::kComputing:
        worker.state = SimulatedWorker::State::kLooking;
        if (!worker.client->stop_now()) keep(id);
        return wake_lane(id, random_.spread(1e-6, 1e-3));
      case SimulatedWorker::State::kLeft: return;
    }
  }

  void begin(size_t id, Item item) {
    SimulatedWorker& worker = workers_[id];
    require(item.id < key_of_item_.size(), "worker {} got an item that does not exist", id);
    const size_t key = key_of_item_[item.id];
    const Job::Item& known = job_.items[key];
    require(item.payload == Job::value_of(key), "item {} has another's payload", key);
    require(!was_handed_out_[item.id], "item {} was handed out twice", key);
    was_handed_out_[item.id] = true;
    require(!known.is_accepted, "item {} is computed again after its receipt", key);
    require(!known.was_durable_before, "item {} is computed again though its record was there", key);
    job_.note(3'000'000 + key * 100 + id);
    job_.history.computed += 1;
    const SimulatedRank& rank = ranks_[static_cast<size_t>(worker.rank)];
    worker.item = std::move(item);
    worker.item_seconds = static_cast<double>(known.work.cost) / rank.cost_per_second * random_.real(0.5, 2);
    worker.state = SimulatedWorker::State::kComputing;
    wake_lane(id, worker.item_seconds);
  }

  void keep(size_t id) {
    SimulatedWorker& worker = workers_[id];
    worker.keeping.push_back({std::move(worker.item), worker.item_seconds});
    if (worker.keeping.size() == 1) write_next(id);
  }

  void write_next(size_t id) {
    const SimulatedRank& rank = ranks_[static_cast<size_t>(workers_[id].rank)];
    time_.after(rank.fsync_seconds * random_.real(0.5, 2),
                [this, id] { run_on(workers_[id].rank, [this, id] { append(id); }); });
  }

  // The record is durable; its receipt leaves a little later, or never.
  void append(size_t id) {
    SimulatedWorker& worker = workers_[id];
    const size_t key = key_of_item_[worker.keeping.front().item.id];
    std::vector<std::string>& log = ranks_[static_cast<size_t>(worker.rank)].log;
    log.push_back(Job::value_of(key));
    job_.items[key].in_logs += 1;
    num_durable_ += 1;
    job_.note(4'000'000 + key);
    const uint64_t offset = log.size() - 1;
    time_.after(random_.spread(1e-6, 1e-3),
                [this, id, offset] { run_on(workers_[id].rank, [this, id, offset] { report(id, offset); }); });
  }

  void report(size_t id, uint64_t offset) {
    SimulatedWorker& worker = workers_[id];
    const SimulatedWorker::Kept kept = std::move(worker.keeping.front());
    const std::string& record = ranks_[static_cast<size_t>(worker.rank)].log[offset];
    const store::LogPosition position{offset, static_cast<uint32_t>(record.size()), crc32c(record)};
    const int times = random_.chance(0.02) ? 2 : 1;
    for (int i = 0; i < times; ++i) {
      worker.client->finished(kept.item, kept.seconds, record, std::to_string(worker.rank), position);
    }
    worker.keeping.pop_front();
    if (!worker.keeping.empty()) return write_next(id);
    if (worker.state == SimulatedWorker::State::kDraining) wake_lane(id, 0);
  }

  void accept(const Receipt& receipt) {
    require(receipt.item < key_of_item_.size(), "a receipt for an item that does not exist");
    const size_t key = key_of_item_[receipt.item];
    if (fails_at_record_ && num_accepted_ == *fails_at_record_) {
      stop_at(time_.now());
      fail(ExitCode::kIo, "the disk is full");
    }
    Job::Item& item = job_.items[key];
    require(!std::exchange(item.is_accepted, true), "item {} is in the result twice", key);
    require(receipt.record == Job::value_of(key), "item {} has the record {}", key, receipt.record);
    const std::vector<std::string>& log = ranks_.at(std::stoul(receipt.log_name)).log;
    require(receipt.position.offset < log.size() && log[receipt.position.offset] == receipt.record,
            "the receipt of item {} came before its record was durable", key);
    num_accepted_ += 1;
    job_.note(5'000'000 + key);
  }

  bool is_over() const {
    if (num_dead_ == ranks_.size()) return true;
    if (!has_ended_ && !ranks_[0].is_dead) return false;
    return std::all_of(workers_.begin(), workers_.end(), [this](const SimulatedWorker& worker) {
      return ranks_[static_cast<size_t>(worker.rank)].is_dead ||
             (worker.state == SimulatedWorker::State::kLeft && worker.keeping.empty());
    });
  }

  void check_end() {
    const WorkQueue::Counts counts = queue_.counts();
    job_.history.attempts_by_kill += num_dead_ > 0;
    require(counts.completed == num_accepted_, "{} records accepted, {} items completed", num_accepted_,
            counts.completed);
    if (num_dead_ > 0) return;
    const bool failed = coordinator_->failure() != nullptr;
    require(!failed || fails_at_record_, "the coordinator failed by itself");
    require(!coordinator_->stopped_by_deadline() || has_deadline_, "stopped by a deadline that was not there");
    if (was_aborted_ || failed) return;
    require(queue_.is_finished(), "everybody has left and the queue is not finished");
    require(num_accepted_ == num_durable_, "{} records are durable, {} were accepted", num_durable_, num_accepted_);
    if (was_stopped_) {
      require(ended_at_ <= stopped_at_ + seconds_span(longest_stop_seconds()), "ends {:.1f} s after the stop",
              std::chrono::duration<double>(ended_at_ - stopped_at_).count());
    } else {
      require(num_accepted_ == key_of_item_.size(), "{} of {} items are in the result", num_accepted_,
              key_of_item_.size());
    }
  }

  // If one worker of average speed did a fair share.
  double likely_seconds() const {
    double seconds = 0.3;
    for (const Job::Item& item : job_.items) {
      if (item.in_logs == 0) seconds += static_cast<double>(item.work.cost) / 6e3;
    }
    return 0.5 + seconds / static_cast<double>(workers_.size());
  }

  double slowest_item_seconds() const {
    double seconds = 0;
    for (const Job::Item& item : job_.items) seconds = std::max(seconds, static_cast<double>(item.work.cost));
    double cost_per_second = 1e9;
    for (const SimulatedRank& rank : ranks_) cost_per_second = std::min(cost_per_second, rank.cost_per_second);
    return 2 * seconds / cost_per_second;
  }

  // Messages and fsyncs on the way, and every freeze one after another.
  double slack_seconds() const { return 10 * kSlowestMessageSeconds + 2 + frozen_seconds_; }
  double longest_stop_seconds() const { return slowest_item_seconds() + slack_seconds(); }
  double longest_seconds() const {
    const double alone = slowest_item_seconds() * static_cast<double>(job_.items.size());
    return planned_seconds_ + alone + slack_seconds() + 2 * likely_seconds() + 2 * kLauncherKillsAfterSeconds;
  }

  std::string status() const {
    const WorkQueue::Counts counts = queue_.counts();
    std::string states;
    for (const SimulatedWorker& worker : workers_) {
      states += fmt::format(" {}{}", static_cast<int>(worker.state),
                            ranks_[static_cast<size_t>(worker.rank)].is_dead ? "x" : "");
    }
    return fmt::format("{} items wait, {} in flight, {} completed, {} abandoned; workers{}", counts.waiting,
                       counts.in_flight, counts.completed, counts.abandoned, states);
  }

  static constexpr int kFirstWorkerTag = 1024;

  Job& job_;
  Random& random_;
  Timeline& time_;
  std::vector<SimulatedRank> ranks_;
  VirtualNetwork network_;
  WorkQueue queue_;
  std::optional<Coordinator> coordinator_;
  std::vector<SimulatedWorker> workers_;
  std::vector<int> replica_of_worker_;
  std::vector<size_t> key_of_item_;
  std::vector<bool> was_handed_out_;
  bool has_faults_ = false;
  bool has_deadline_ = false;
  bool was_stopped_ = false;
  bool was_aborted_ = false;
  bool has_ended_ = false;
  std::optional<uint64_t> fails_at_record_;
  VirtualTime stopped_at_ = VirtualTime::max();
  VirtualTime ended_at_{};
  VirtualTime coordinator_busy_until_{};
  uint64_t coordinator_turn_ = 0;
  size_t num_dead_ = 0;
  uint64_t num_accepted_ = 0;
  uint64_t num_durable_ = 0;
  double planned_seconds_ = 0;
  double frozen_seconds_ = 0;
};

std::vector<Job::Item> draw_items(Random& random) {
  std::vector<int64_t> prefix_costs;
  for (int i = random.between(1, 6); i > 0; --i) prefix_costs.push_back(random.between(0, 800));
  std::vector<Job::Item> items(static_cast<size_t>(random.spread(1, 80)));
  for (size_t key = 0; key < items.size(); ++key) {
    WorkItem& work = items[key].work;
    work.payload = Job::value_of(key);
    work.cost = random.between(1, 1500);
    if (random.chance(0.7)) {
      const uint64_t group = random.below(prefix_costs.size());
      work.prefix = {1, group};
      work.prefix_cost = prefix_costs[group];
      work.cost += work.prefix_cost;
    }
  }
  return items;
}

}  // namespace

ClusterHistory run_simulated_cluster(uint64_t seed) {
  Random random(seed);
  Job job;
  job.items = draw_items(random);
  job.history.items = job.items.size();
  bool is_complete = false;
  while (!is_complete) {
    require(job.history.attempts <= kAttemptsWithFaults, "an attempt without faults did not complete the job");
    Timeline time;
    is_complete = SimulatedAttempt(job, random, time).run();
    job.history.attempts += 1;
    job.history.events += time.events_made();
    job.history.virtual_seconds += std::chrono::duration<double>(time.now().time_since_epoch()).count();
  }
  for (const Job::Item& item : job.items) require(item.in_logs == 1, "an item has {} records", item.in_logs);
  return job.history;
}

}  // namespace evalmpi::job

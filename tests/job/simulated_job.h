#pragma once

// A job in virtual time: a WorkQueue served as the coordinator serves it, to any number of workers whose items take as
// long as they cost.

#include <optional>
#include <queue>
#include <random>
#include <utility>
#include <vector>

#include "evalmpi/job/work_queue.h"

namespace evalmpi::job {

struct SimulatedItem {
  Hash128 prefix;
  int64_t cost = 0;
  int64_t prefix_cost = 0;
};

struct Simulated {
  double seconds = 0;       // until the last item has ended
  double idle_seconds = 0;  // of all workers together until then
  double cost = 0;          // computed by all workers, prefixes as often as they were computed
  uint64_t completed = 0;
  double idle_share(int workers) const { return idle_seconds / (seconds * workers); }
};

class SimulatedJob {
 public:
  // An item takes cost / cost_per_second, up to a tenth more or less.
  SimulatedJob(int replicas, int workers_per_replica, double cost_per_second, unsigned seed)
      : workers_(static_cast<size_t>(replicas) * workers_per_replica),
        cost_per_second_(cost_per_second),
        random_(seed) {
    std::vector<int> replica_of_worker;
    for (size_t i = 0; i < workers_.size(); ++i) {
      workers_[i].replica = static_cast<int>(i) / workers_per_replica;
      replica_of_worker.push_back(workers_[i].replica);
    }
    queue_.set_replicas(std::move(replica_of_worker));
  }

  Simulated run(const std::vector<SimulatedItem>& items) {
    std::vector<WorkItem> work;
    for (const SimulatedItem& item : items) work.push_back({"", item.prefix, item.cost, item.prefix_cost});
    queue_.add(std::move(work));
    queue_.close();
    items_ = items;
    begin_idle_workers();
    while (!ends_.empty()) {
      const auto [when, index] = ends_.top();
      ends_.pop();
      now_ = when;
      Worker& worker = workers_[static_cast<size_t>(index)];
      queue_.complete(worker.item->id);
      worker.item = std::exchange(worker.ahead, std::nullopt);
      worker.idle_since = now_;
      if (worker.item) begin(index);
      begin_idle_workers();
    }
    for (const Worker& worker : workers_) result_.idle_seconds += now_ - worker.idle_since;  // all are idle now
    result_.seconds = now_;
    result_.completed = queue_.counts().completed;
    return result_;
  }

 private:
  struct Worker {
    int replica = 0;
    Hash128 held;
    std::optional<TakenItem> item;
    std::optional<TakenItem> ahead;
    double idle_since = 0;
  };

  bool replica_holds(int replica, const Hash128& prefix) const {
    for (size_t i = first_of(replica); i < workers_.size() && workers_[i].replica == replica; ++i) {
      if (workers_[i].held == prefix) return true;
    }
    return false;
  }
  size_t first_of(int replica) const {
    const size_t per_replica = workers_.size() / static_cast<size_t>(workers_.back().replica + 1);
    return static_cast<size_t>(replica) * per_replica;
  }

  void begin_idle_workers() {
    for (size_t i = 0; i < workers_.size() && queue_.counts().waiting > 0; ++i) {
      if (workers_[i].item) continue;
      workers_[i].item = queue_.take(static_cast<int>(i), workers_[i].held);
      if (workers_[i].item) begin(static_cast<int>(i));
    }
  }

  void begin(int index) {
    Worker& worker = workers_[static_cast<size_t>(index)];
    const TakenItem& item = *worker.item;
    result_.idle_seconds += now_ - worker.idle_since;
    const bool is_held = item.prefix != Hash128{} && replica_holds(worker.replica, item.prefix);
    const auto cost = static_cast<double>(items_[item.id].cost - (is_held ? items_[item.id].prefix_cost : 0));
    result_.cost += cost;
    if (item.prefix != Hash128{}) worker.held = item.prefix;
    const double noise = std::uniform_real_distribution<double>(0.9, 1.1)(random_);
    ends_.push({now_ + cost / cost_per_second_ * noise, index});
    // As the coordinator answers a worker that is busy.
    if (queue_.counts().waiting > workers_.size()) worker.ahead = queue_.take(index, worker.held);
  }

  using End = std::pair<double, int>;
  std::vector<Worker> workers_;
  double cost_per_second_;
  std::mt19937 random_;
  WorkQueue queue_;
  std::vector<SimulatedItem> items_;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
  double now_ = 0;
  Simulated result_;
};

}  // namespace evalmpi::job

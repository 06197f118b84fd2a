#pragma once

// Rank 0's service: hands out chunks and gathers their records. Nothing here knows what a chunk is.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "evalmpi/base/hash.h"
#include "evalmpi/job/signals.h"
#include "evalmpi/job/work_queue.h"
#include "evalmpi/store/record_log.h"

namespace evalmpi::comm {
class MessagePort;
}

namespace evalmpi::job {

// A record that its worker has made durable.
struct Receipt {
  uint64_t item = 0;  // WorkQueue id
  int worker = 0;
  double seconds = 0;  // that the worker needed
  std::string log_name;
  store::LogPosition position;
  std::string record;
};

struct CoordinatorOptions {
  int num_workers = 0;  // WorkerClients of all ranks together; each must leave() or be told to stop
  // The replica of each worker; workers of one share prefixes (WorkQueue). Empty: each is a replica of its own.
  std::vector<int> replica_of_worker = {};
  // The attempt must have ended by then.
  std::optional<std::chrono::steady_clock::time_point> deadline;
  // Called in serve_once(). An Error from either ends the service: workers are told to stop now, failure() is it.
  std::function<void(Receipt)> on_record;  // once per item, also when a receipt comes twice
  std::function<void()> on_tick;           // about every second: heartbeat of the lock, status.json
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

// Hand-out ends when the queue is closed and drained, when `stop` or any worker's
// StopFlag asks, or when the deadline is nearer than the next item would take by the rate measured so far (workers then
// finish what they have). At the deadline itself workers are told to drop what they have.
// A worker that is busy gets its next item early (it asks ahead), except when no more items wait than there are
// workers: then an item goes to whoever is free first, so that none lies behind a long one.
class Coordinator {
 public:
  // `port`, `queue` and `stop` outlive this object; nobody else receives kToCoordinator on `port`.
  Coordinator(comm::MessagePort& port, WorkQueue& queue, const StopFlag& stop, CoordinatorOptions options);
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // One round: the messages that are here (waiting a little for the first), stop, answers, tick. False when there is
  // nothing more to serve: every worker has left, or could not even be told to.
  bool serve_once() noexcept;

  // From any thread: the next round tells the workers to stop and is the last.
  void give_up() noexcept { gives_up_ = true; }

  // What ended the service early; null if nothing did.
  std::exception_ptr failure() const { return failure_; }

  // Whether the deadline ended the hand-out.
  bool stopped_by_deadline() const { return stopped_by_deadline_; }

 private:
  struct InFlight {
    uint64_t item;
    int64_t cost;
  };
  struct Worker {
    int rank = -1;  // unknown until its first message
    Hash128 held;
    bool is_waiting = false;  // it has asked and has no answer yet
    bool has_left = false;
    std::vector<InFlight> in_flight;
  };

  bool serve_round();
  void handle(int rank, const std::string& bytes);
  void accept(Receipt receipt, Worker& worker);
  void remove(Worker& worker);
  void answer_waiting();
  bool answer(int id, Worker& worker);
  void send_stop(int id, Worker& worker, Stop how);
  void tell_all(Stop how);
  Stop wanted_stop();
  int64_t affordable_cost(const Worker& worker) const;
  void tick();

  comm::MessagePort& port_;
  WorkQueue& queue_;
  const StopFlag& stop_;
  CoordinatorOptions options_;
  std::vector<Worker> workers_;
  std::vector<int> waiting_;  // workers without an answer, in the order of asking
  int num_left_ = 0;
  double seconds_done_ = 0;  // of all workers, for the rate
  double cost_done_ = 0;
  Stop told_ = Stop::kNone;
  Stop asked_by_workers_ = Stop::kNone;
  bool stopped_by_deadline_ = false;
  std::chrono::steady_clock::time_point next_tick_{};
  std::exception_ptr failure_;
  std::atomic<bool> gives_up_{false};
};

// A coordinator with the thread that serves until every worker has left.
class CoordinatorThread {
 public:
  // As Coordinator. `now` of the options has to go on by itself.
  CoordinatorThread(comm::MessagePort& port, WorkQueue& queue, const StopFlag& stop, CoordinatorOptions options);
  CoordinatorThread(const CoordinatorThread&) = delete;
  CoordinatorThread& operator=(const CoordinatorThread&) = delete;
  ~CoordinatorThread();  // without join() before: tells the workers to stop and does not wait for them

  // Waits until all workers have left. FAILS: with what ended the service.
  void join();

  // Valid after join().
  bool stopped_by_deadline() const { return coordinator_.stopped_by_deadline(); }

 private:
  Coordinator coordinator_;
  std::thread thread_;
};

}  // namespace evalmpi::job

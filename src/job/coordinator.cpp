#include "evalmpi/job/coordinator.h"

#include <algorithm>
#include <utility>

#include "evalmpi/base/error.h"
#include "evalmpi/comm/message_port.h"
#include "wire.h"

namespace evalmpi::job {
namespace {

using std::chrono::milliseconds;

// Without messages a round looks this often at the stop flag, and, while workers wait for items that are still
// being planned, at the queue.
constexpr milliseconds kIdle{50};
constexpr milliseconds kIdleWhileAsked{5};
constexpr std::chrono::seconds kTick{1};
constexpr int kMessagesPerRound = 256;
// An item may take this much longer than its cost says.
constexpr double kTimeMargin = 1.25;

}  // namespace

Coordinator::Coordinator(comm::MessagePort& port, WorkQueue& queue, const StopFlag& stop, CoordinatorOptions options)
    : port_(port), queue_(queue), stop_(stop), options_(std::move(options)) {
  EVALMPI_CHECK(options_.num_workers > 0 && options_.num_workers <= wire::kMaxWorkers);
  EVALMPI_CHECK(options_.on_record != nullptr);
  workers_.resize(static_cast<size_t>(options_.num_workers));
  if (!options_.replica_of_worker.empty()) {
    EVALMPI_CHECK(options_.replica_of_worker.size() == workers_.size());
    queue_.set_replicas(options_.replica_of_worker);
  }
}

bool Coordinator::serve_once() noexcept {
  try {
    return serve_round();
  } catch (...) {
    // After the first failure the workers are told to stop; a second one means that they cannot even be told.
    const bool goes_on = failure_ == nullptr;
    if (!failure_) failure_ = std::current_exception();
    return goes_on;
  }
}

bool Coordinator::serve_round() {
  milliseconds patience = waiting_.empty() ? kIdle : kIdleWhileAsked;
  for (int i = 0; i < kMessagesPerRound; ++i) {
    const std::optional<comm::Message> message = port_.receive(wire::kToCoordinator, patience);
    if (!message) break;
    handle(message->source, message->bytes);
    patience = milliseconds(0);
  }
  if (const Stop wanted = wanted_stop(); wanted > told_) tell_all(wanted);
  if (gives_up_) return false;
  answer_waiting();
  tick();
  return num_left_ < options_.num_workers;
}

void Coordinator::handle(int rank, const std::string& bytes) {
  ByteReader message(bytes, "a message from a worker");
  const wire::Head head = wire::read_head(message);
  EVALMPI_CHECK(head.worker >= 0 && head.worker < options_.num_workers);
  Worker& worker = workers_[static_cast<size_t>(head.worker)];
  const bool is_new = std::exchange(worker.rank, rank) < 0;
  if (is_new && told_ != Stop::kNone) send_stop(head.worker, worker, told_);
  switch (head.kind) {
    case wire::Kind::kRequest:
      worker.held = message.get_hash();
      if (!std::exchange(worker.is_waiting, true)) waiting_.push_back(head.worker);
      break;
    case wire::Kind::kReceipt: {
      Receipt receipt;
      receipt.item = message.get<uint64_t>();
      receipt.worker = head.worker;
      receipt.seconds = message.get<double>();
      receipt.log_name = message.get_text();
      receipt.position.offset = message.get<uint64_t>();
      receipt.position.length = message.get<uint32_t>();
      receipt.position.crc = message.get<uint32_t>();
      receipt.record = message.get_text();
      accept(std::move(receipt), worker);
      break;
    }
    case wire::Kind::kLeave:
      asked_by_workers_ = std::max(asked_by_workers_, wire::read_stop(message));
      remove(worker);
      break;
    default: fail(ExitCode::kInternal, "worker {} sent a message of kind {}", head.worker, static_cast<int>(head.kind));
  }
  message.finish();
}

void Coordinator::accept(Receipt receipt, Worker& worker) {
  const auto is_it = [&](const InFlight& flight) { return flight.item == receipt.item; };
  if (const auto flight = std::find_if(worker.in_flight.begin(), worker.in_flight.end(), is_it);
      flight != worker.in_flight.end()) {
    seconds_done_ += receipt.seconds;
    cost_done_ += static_cast<double>(flight->cost);
    worker.in_flight.erase(flight);
  }
  if (failure_) return;  // durable in its log; nobody here can use it any more
  // The record is taken in before the queue may say that all is finished.
  const uint64_t item = receipt.item;
  if (!queue_.is_completed(item)) options_.on_record(std::move(receipt));
  queue_.complete(item);
}

void Coordinator::remove(Worker& worker) {
  if (std::exchange(worker.has_left, true)) return;
  num_left_ += 1;
  worker.is_waiting = false;
  queue_.release(static_cast<int>(&worker - workers_.data()));
  for (const InFlight& flight : worker.in_flight) queue_.abandon(flight.item);
  worker.in_flight.clear();
}

void Coordinator::answer_waiting() {
  if (waiting_.empty()) return;
  std::vector<int> still_waiting;
  for (const int id : waiting_) {
    Worker& worker = workers_[static_cast<size_t>(id)];
    if (!worker.is_waiting) continue;
    if (answer(id, worker)) {
      worker.is_waiting = false;
    } else {
      still_waiting.push_back(id);
    }
  }
  waiting_ = std::move(still_waiting);
}

// Whether the worker has its answer now.
bool Coordinator::answer(int id, Worker& worker) {
  if (queue_.is_drained()) {
    send_stop(id, worker, Stop::kNone);
    return true;
  }
  const bool is_busy = !worker.in_flight.empty();
  if (is_busy && queue_.counts().waiting <= workers_.size()) return false;
  bool is_too_costly = false;
  std::optional<TakenItem> taken = queue_.take(id, worker.held, affordable_cost(worker), &is_too_costly);
  if (is_too_costly && !is_busy) {
    stopped_by_deadline_ = true;
    queue_.stop();
    send_stop(id, worker, Stop::kNone);
    return true;
  }
  if (!taken) return false;
  worker.in_flight.push_back({taken->id, taken->cost});
  ByteWriter message = wire::start_message(wire::Kind::kItem, id);
  message.put(taken->id).put(taken->prefix).put_text(taken->payload);
  port_.post(worker.rank, wire::kToWorker + id, message.take());
  return true;
}

void Coordinator::send_stop(int id, Worker& worker, Stop how) {
  ByteWriter message = wire::start_message(wire::Kind::kEnd, id);
  message.put(static_cast<uint8_t>(how));
  port_.post(worker.rank, wire::kToWorker + id, message.take());
}

void Coordinator::tell_all(Stop how) {
  told_ = how;
  for (int id = 0; id < options_.num_workers; ++id) {
    Worker& worker = workers_[static_cast<size_t>(id)];
    if (worker.rank >= 0 && !worker.has_left) send_stop(id, worker, how);
  }
  queue_.stop();
}

Stop Coordinator::wanted_stop() {
  if (gives_up_ || failure_) return Stop::kNow;
  if (options_.deadline && options_.now() >= *options_.deadline && !queue_.is_finished()) {
    stopped_by_deadline_ = true;
    return Stop::kNow;
  }
  return std::max(stop_.requested(), asked_by_workers_);
}

// The cost of an item that this worker would end before the deadline, after what it has in hand.
int64_t Coordinator::affordable_cost(const Worker& worker) const {
  constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
  if (!options_.deadline || seconds_done_ <= 0) return kAny;
  const std::chrono::duration<double> left = *options_.deadline - options_.now();
  double cost = left.count() / kTimeMargin * cost_done_ / seconds_done_;
  for (const InFlight& flight : worker.in_flight) cost -= static_cast<double>(flight.cost);
  if (cost >= 9e18) return kAny;
  return static_cast<int64_t>(std::max(cost, -1.0));
}

void Coordinator::tick() {
  if (!options_.on_tick || failure_ || options_.now() < next_tick_) return;
  next_tick_ = options_.now() + kTick;
  options_.on_tick();
}

CoordinatorThread::CoordinatorThread(comm::MessagePort& port, WorkQueue& queue, const StopFlag& stop,
                                     CoordinatorOptions options)
    : coordinator_(port, queue, stop, std::move(options)), thread_([this] {
        while (coordinator_.serve_once()) {
        }
      }) {}

CoordinatorThread::~CoordinatorThread() {
  coordinator_.give_up();
  if (thread_.joinable()) thread_.join();
}

void CoordinatorThread::join() {
  if (thread_.joinable()) thread_.join();
  if (coordinator_.failure()) std::rethrow_exception(coordinator_.failure());
}

}  // namespace evalmpi::job

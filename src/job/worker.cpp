#include "evalmpi/job/worker.h"

#include <array>
#include <utility>

#include "evalmpi/base/error.h"
#include "evalmpi/base/log.h"
#include "evalmpi/comm/message_port.h"
#include "wire.h"

namespace evalmpi::job {
namespace {

// How often a worker without work looks at its own StopFlag.
constexpr std::chrono::milliseconds kLookAtStop{50};

}  // namespace

WorkerClient::WorkerClient(comm::MessagePort& port, int worker_id, int coordinator_rank, const StopFlag& stop)
    : port_(port), id_(worker_id), coordinator_(coordinator_rank), stop_(stop) {
  EVALMPI_CHECK(worker_id >= 0 && worker_id < wire::kMaxWorkers);
}

WorkerClient::~WorkerClient() { leave(); }

std::optional<Item> WorkerClient::next() {
  if (has_left_) return std::nullopt;
  while (!wait(kLookAtStop)) {
  }
  if (!ahead_ || should_stop()) {
    leave();
    return std::nullopt;
  }
  return take_item();
}

std::optional<Item> WorkerClient::next_if_here() {
  wait(std::chrono::milliseconds(0));
  if (has_left_ || !ahead_ || should_stop()) return std::nullopt;
  return take_item();
}

bool WorkerClient::wait(std::chrono::milliseconds patience) {
  if (has_left_) return true;
  if (!has_asked_) ask();
  const auto is_settled = [this] { return ahead_ || is_drained_ || should_stop(); };
  take_messages(is_settled() ? std::chrono::milliseconds(0) : patience);
  return is_settled();
}

Item WorkerClient::take_item() {
  Item item = std::move(*ahead_);
  ahead_.reset();
  if (item.prefix != Hash128{}) held_ = item.prefix;
  if (!is_drained_) ask();
  return item;
}

void WorkerClient::finished(const Item& item, double seconds, std::string_view record, std::string_view log_name,
                            const store::LogPosition& position) const {
  ByteWriter message = wire::start_message(wire::Kind::kReceipt, id_);
  message.put(item.id).put(seconds).put_text(log_name);
  message.put(position.offset).put(position.length).put(position.crc).put_text(record);
  port_.post(coordinator_, wire::kToCoordinator, message.take());
}

bool WorkerClient::stop_now() {
  if (!has_left_) take_messages(std::chrono::milliseconds(0));
  return stop_.now() || told_ == Stop::kNow;
}

void WorkerClient::leave() noexcept {
  if (std::exchange(has_left_, true)) return;
  try {
    ByteWriter message = wire::start_message(wire::Kind::kLeave, id_);
    message.put(static_cast<uint8_t>(stop_.requested()));
    port_.post(coordinator_, wire::kToCoordinator, message.take());
  } catch (const Error& error) {
    log::warning("worker {} cannot tell the coordinator that it leaves: {}", id_, error.what());
  }
}

void WorkerClient::ask() {
  ByteWriter message = wire::start_message(wire::Kind::kRequest, id_);
  message.put(held_);
  port_.post(coordinator_, wire::kToCoordinator, message.take());
  has_asked_ = true;
}

// All that are here; waits for the first only.
void WorkerClient::take_messages(std::chrono::milliseconds patience) {
  while (const std::optional<comm::Message> message = port_.receive(wire::kToWorker + id_, patience)) {
    take_message(message->bytes);
    patience = std::chrono::milliseconds(0);
  }
}

void WorkerClient::take_message(const std::string& bytes) {
  ByteReader message(bytes, "a message from the coordinator");
  const wire::Head head = wire::read_head(message);
  EVALMPI_CHECK(head.worker == id_);
  if (head.kind == wire::Kind::kItem) {
    EVALMPI_CHECK(!ahead_);
    Item item;
    item.id = message.get<uint64_t>();
    item.prefix = message.get_hash();
    item.payload = message.get_text();
    ahead_ = std::move(item);
  } else {
    EVALMPI_CHECK(head.kind == wire::Kind::kEnd);
    const Stop stop = wire::read_stop(message);
    if (stop == Stop::kNone) is_drained_ = true;
    told_ = std::max(told_, stop);
  }
  message.finish();
}

bool WorkerClient::should_stop() const { return static_cast<bool>(stop_) || told_ != Stop::kNone; }

}  // namespace evalmpi::job

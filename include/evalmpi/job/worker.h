#pragma once

// A lane's end of the wire to the coordinator. One thread each; several on a rank share its port.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "evalmpi/base/hash.h"
#include "evalmpi/job/signals.h"
#include "evalmpi/store/record_log.h"

namespace evalmpi::comm {
class MessagePort;
}

namespace evalmpi::job {

struct Item {
  uint64_t id = 0;
  Hash128 prefix;
  std::string payload;
};

class WorkerClient {
 public:
  // worker_id: 0 .. CoordinatorOptions::num_workers - 1, each used once over all ranks. `port` and `stop` outlive it.
  WorkerClient(comm::MessagePort& port, int worker_id, int coordinator_rank, const StopFlag& stop);
  WorkerClient(const WorkerClient&) = delete;
  WorkerClient& operator=(const WorkerClient&) = delete;
  ~WorkerClient();  // leaves

  // The next item; blocks until there is one. The one after is asked for before this returns, with the item's prefix as
  // the one that will be held. nullopt: there is nothing more (done, stopped, or out of time); the client has left.
  // An item that was sent ahead when a stop came is dropped here and computed in a later attempt.
  std::optional<Item> next();

  // The next item if it is here already, else nullopt; does not wait and does not leave.
  std::optional<Item> next_if_here();

  // One look: takes what has arrived, waiting up to `patience` for the first message. True when next() returns at
  // once, be it with an item or with nothing.
  bool wait(std::chrono::milliseconds patience);

  // Reports `item` as done, after `seconds` of work. REQUIRES: the record is durable at `position` of `log_name`. From
  // any thread, but before the next() that may leave.
  void finished(const Item& item, double seconds, std::string_view record, std::string_view log_name,
                const store::LogPosition& position) const;

  // Whether the chunk in hand should be dropped: this rank's signal, or the coordinator's word. Cheap: call it between
  // the parts of a chunk. To drop: do not call finished(), call next().
  bool stop_now();

  // Tells the coordinator that no more is wanted or delivered. Called by next() at the end and by the destructor.
  void leave() noexcept;

 private:
  void ask();
  void take_message(const std::string& bytes);
  void take_messages(std::chrono::milliseconds patience);
  Item take_item();
  bool should_stop() const;

  comm::MessagePort& port_;
  int id_;
  int coordinator_;
  const StopFlag& stop_;
  std::optional<Item> ahead_;  // sent before it was needed
  Hash128 held_;               // what this worker's cache holds after the item in hand
  bool has_asked_ = false;
  bool is_drained_ = false;  // nothing comes after what is here
  bool has_left_ = false;
  Stop told_ = Stop::kNone;
};

}  // namespace evalmpi::job

#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "evalmpi/comm/message_port.h"

namespace evalmpi::comm {

class MessagePort::Impl {
 public:
  virtual ~Impl() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void post(int rank, int tag, std::string bytes) = 0;
  virtual std::optional<Message> receive(std::span<const int> tags, std::chrono::milliseconds timeout) = 0;
  virtual bool flush(std::chrono::milliseconds timeout) = 0;
};

using Clock = std::chrono::steady_clock;

// Any timeout, also the largest, as a point in time.
inline Clock::time_point deadline_after(std::chrono::milliseconds timeout) {
  return Clock::now() + std::min<std::chrono::milliseconds>(timeout, std::chrono::hours(24 * 365));
}

// Messages that are here already, in the order of their coming.
class Inbox {
 public:
  void put(Message message);
  // Waits until a message with one of the tags is here, or the deadline.
  std::optional<Message> take_until(std::span<const int> tags, Clock::time_point deadline);

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Message> messages_;
};

}  // namespace evalmpi::comm

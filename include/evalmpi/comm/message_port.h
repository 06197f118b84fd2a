#pragma once

// Mail between ranks: asynchronous, not collective, safe from any thread. The coordinator and the workers talk
// through it while work is running; it never waits for another rank.

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace evalmpi::comm {

struct Message {
  int source = 0;
  int tag = 0;
  std::string bytes;
};

class MessagePort final {
 public:
  // n ports of one process, connected with each other: port i is rank i (for tests, and for a run without MPI).
  static std::vector<MessagePort> connected(int n);

  class Impl;
  explicit MessagePort(std::unique_ptr<Impl> impl);  // used by Session
  MessagePort(MessagePort&&) noexcept;
  MessagePort& operator=(MessagePort&&) noexcept;
  ~MessagePort();

  int rank() const;
  int size() const;

  // Returns at once; the bytes are kept until they are delivered. 0 <= tag < 2^15; `rank` may be the own one. Messages
  // from one thread to one rank with one tag arrive in their order.
  // FAILS: kUnavailable with MPI's words; kInternal above 1 GiB.
  void post(int rank, int tag, std::string bytes);

  // The oldest message with one of `tags`, or nothing after `timeout` (0: only look). Several threads may wait at
  // once; with overlapping tags any of them gets a message. Messages with other tags stay where they are.
  std::optional<Message> receive(std::span<const int> tags, std::chrono::milliseconds timeout);
  std::optional<Message> receive(int tag, std::chrono::milliseconds timeout);

  // True when everything posted here has left (its receiver may still have to fetch it), false after `timeout`.
  bool flush(std::chrono::milliseconds timeout);

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace evalmpi::comm

#pragma once

// Time and mail that a test draws from a seed: events run one after another in one thread, messages take as long as
// their channel makes them, and a run can be had again.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "evalmpi/comm/message_port.h"
#include "message_port_impl.h"

namespace evalmpi::job {

using VirtualTime = std::chrono::steady_clock::time_point;
using VirtualSpan = std::chrono::steady_clock::duration;

inline VirtualSpan seconds_span(double seconds) {
  return std::chrono::duration_cast<VirtualSpan>(std::chrono::duration<double>(seconds));
}

class Random {
 public:
  explicit Random(uint64_t seed) : bits_(seed) {}
  // 0 .. n - 1
  uint64_t below(uint64_t n) { return bits_() % n; }
  int between(int least, int most) { return least + static_cast<int>(below(static_cast<uint64_t>(most - least + 1))); }
  double real(double least, double most) {
    return least + (most - least) * static_cast<double>(bits_() >> 11) * 0x1p-53;
  }
  // Every order of magnitude as likely.
  double spread(double least, double most) { return std::exp(real(std::log(least), std::log(most))); }
  bool chance(double p) { return real(0, 1) < p; }

 private:
  std::mt19937_64 bits_;
};

// Events at equal times run in the order in which they were made.
class Timeline {
 public:
  VirtualTime now() const { return now_; }

  void after(double seconds, std::function<void()> what) { at(now_ + seconds_span(seconds), std::move(what)); }
  void at(VirtualTime when, std::function<void()> what) {
    events_.push_back({std::max(when, now_), made_++, std::move(what)});
    std::push_heap(events_.begin(), events_.end(), is_later);
  }

  // False when nothing is left to happen.
  bool run_next() {
    if (events_.empty()) return false;
    std::pop_heap(events_.begin(), events_.end(), is_later);
    const Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.when;
    event.what();
    return true;
  }

  uint64_t events_made() const { return made_; }

 private:
  struct Event {
    VirtualTime when;
    uint64_t number;
    std::function<void()> what;
  };
  static bool is_later(const Event& a, const Event& b) {
    return std::tie(a.when, a.number) > std::tie(b.when, b.number);
  }

  VirtualTime now_{};
  uint64_t made_ = 0;
  std::vector<Event> events_;
};

// Ports as MPI gives them: in order between two ranks on one tag, in any order otherwise. receive() never waits: it
// notes how long the caller would have, and the caller is stepped again then or at the next arrival.
class VirtualNetwork {
 public:
  using OnArrival = std::function<void(int rank, int tag)>;

  // The delays of each channel are spread around one of its own between 10 us and `slowest_seconds`.
  VirtualNetwork(Timeline& time, int ranks, uint64_t seed, double slowest_seconds, OnArrival on_arrival)
      : time_(time),
        random_(seed),
        slowest_seconds_(slowest_seconds),
        on_arrival_(std::move(on_arrival)),
        inboxes_(static_cast<size_t>(ranks)),
        is_dead_(static_cast<size_t>(ranks), false) {}
  VirtualNetwork(const VirtualNetwork&) = delete;
  VirtualNetwork& operator=(const VirtualNetwork&) = delete;

  comm::MessagePort port(int rank) { return comm::MessagePort(std::make_unique<Port>(*this, rank)); }

  // What the rank has sent and has not arrived is lost, on each channel from some message on.
  void kill(int rank) {
    is_dead_[static_cast<size_t>(rank)] = true;
    for (auto& [ends, channel] : channels_) {
      if (ends.source != rank) continue;
      channel.last_arriving = channel.arrived + random_.below(channel.sent - channel.arrived + 1);
    }
  }

  // How long the last receive() that found nothing would have waited, since forget_patience().
  VirtualSpan last_patience() const { return last_patience_; }
  void forget_patience() { last_patience_ = {}; }
  uint64_t messages_sent() const { return messages_sent_; }

 private:
  struct Ends {
    int source;
    int target;
    int tag;
    auto operator<=>(const Ends&) const = default;
  };
  struct Channel {
    double typical_seconds = 0;
    VirtualTime last_arrival{};
    uint64_t sent = 0;
    uint64_t arrived = 0;
    uint64_t last_arriving = UINT64_MAX;  // later ones were lost with their sender
  };

  class Port final : public comm::MessagePort::Impl {
   public:
    Port(VirtualNetwork& network, int rank) : network_(network), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(network_.inboxes_.size()); }
    void post(int rank, int tag, std::string bytes) override { network_.send({rank_, rank, tag}, std::move(bytes)); }
    std::optional<comm::Message> receive(std::span<const int> tags, std::chrono::milliseconds timeout) override {
      for (const int tag : tags) {
        std::deque<comm::Message>& inbox = network_.inboxes_[static_cast<size_t>(rank_)][tag];
        if (inbox.empty()) continue;
        comm::Message message = std::move(inbox.front());
        inbox.pop_front();
        return message;
      }
      network_.last_patience_ = timeout;
      return std::nullopt;
    }
    bool flush(std::chrono::milliseconds) override { return true; }

   private:
    VirtualNetwork& network_;
    int rank_;
  };

  void send(const Ends& ends, std::string bytes) {
    ++messages_sent_;
    Channel& channel = channels_[ends];
    if (channel.sent == 0) channel.typical_seconds = random_.spread(1e-5, slowest_seconds_);
    const uint64_t number = ++channel.sent;
    const VirtualTime arrival = time_.now() + seconds_span(channel.typical_seconds * random_.real(0.1, 2));
    channel.last_arrival = std::max(channel.last_arrival, arrival);
    auto message = std::make_shared<comm::Message>(comm::Message{ends.source, ends.tag, std::move(bytes)});
    time_.at(channel.last_arrival, [this, ends, number, message = std::move(message)] {
      Channel& taken = channels_[ends];
      if (number > taken.last_arriving || is_dead_[static_cast<size_t>(ends.target)]) return;
      taken.arrived = number;
      inboxes_[static_cast<size_t>(ends.target)][ends.tag].push_back(std::move(*message));
      on_arrival_(ends.target, ends.tag);
    });
  }

  Timeline& time_;
  Random random_;
  double slowest_seconds_;
  OnArrival on_arrival_;
  std::map<Ends, Channel> channels_;
  std::vector<std::map<int, std::deque<comm::Message>>> inboxes_;  // by rank, then tag
  std::vector<bool> is_dead_;
  VirtualSpan last_patience_{};
  uint64_t messages_sent_ = 0;
};

}  // namespace evalmpi::job

#pragma once

// Messages between places of one process, kept until they are fetched.

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "evalmpi/base/error.h"

namespace evalmpi::comm {

class Mailboxes {
 public:
  void put(int from, int to, int tag, std::string bytes) {
    {
      const std::lock_guard lock(mutex_);
      boxes_[{from, to, tag}].push_back(std::move(bytes));
    }
    arrived_.notify_all();
  }

  // Waits for the oldest message. A message that is there is delivered even when the group has come apart since.
  std::string take(int from, int to, int tag) {
    std::unique_lock lock(mutex_);
    const std::tuple key{from, to, tag};
    arrived_.wait(lock, [&] { return boxes_.contains(key) || !reason_.empty(); });
    const auto box = boxes_.find(key);
    if (box == boxes_.end()) {
      throw Error(ExitCode::kUnavailable, reason_);
    }
    std::string bytes = std::move(box->second.front());
    box->second.pop_front();
    if (box->second.empty()) {
      boxes_.erase(box);
    }
    return bytes;
  }

  // From now on nobody waits; the first reason stays.
  void close(std::string_view reason) {
    {
      const std::lock_guard lock(mutex_);
      if (reason_.empty()) {
        reason_ = reason;
      }
    }
    arrived_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::tuple<int, int, int>, std::deque<std::string>> boxes_;  // no box is empty
  std::string reason_;
};

}  // namespace evalmpi::comm

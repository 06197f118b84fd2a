#pragma once

// How far the run is: one line on a terminal, plain lines elsewhere, and the numbers for status.json. Rank 0 only.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "evalmpi/base/json.h"
#include "evalmpi/job/work_queue.h"

namespace evalmpi::eval {

class Progress {
 public:
  explicit Progress(bool quiet);
  ~Progress();  // ends the line

  // Says what is going on when no chunk is: "reading arc_easy".
  void phase(const std::string& what);
  // About once a second, from the coordinator's thread.
  void update(const job::WorkQueue::Counts& counts);
  // Ends the redrawn line, so that something else can be printed.
  void end_line();

  Json json(const job::WorkQueue::Counts& counts) const;

 private:
  void show(const std::string& line, bool is_due);

  using Clock = std::chrono::steady_clock;
  mutable std::mutex mutex_;
  bool quiet_;
  bool is_terminal_;
  bool line_open_ = false;
  Clock::time_point started_ = Clock::now();
  Clock::time_point first_chunk_{};
  Clock::time_point last_plain_{};
};

// 75 s -> "1:15", 3700 s -> "1:01:40".
std::string clock_text(double seconds);

}  // namespace evalmpi::eval

#pragma once

// A lane's second thread: makes records durable and reports them while the lane computes the next chunk (a wait for the
// disk takes milliseconds).

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "evalmpi/job/watchdog.h"
#include "evalmpi/job/worker.h"
#include "evalmpi/store/record_log.h"

namespace evalmpi::eval {

// What logging cost the lanes of a rank; added to by their threads.
struct LoggingTime {
  std::atomic<double> cpu_seconds = 0;     // of the threads that log
  std::atomic<double> waited_seconds = 0;  // of the lanes, for records to be durable
};

class RecordKeeper {
 public:
  // `client`, `log`, `time` and `watchdog` (or null) outlive this. on_failure is called in this thread, at most once,
  // and must end the job.
  RecordKeeper(const job::WorkerClient& client, store::LogWriter& log, LoggingTime& time, job::Watchdog* watchdog,
               std::function<void(std::exception_ptr)> on_failure);
  RecordKeeper(const RecordKeeper&) = delete;
  RecordKeeper& operator=(const RecordKeeper&) = delete;
  ~RecordKeeper();  // keeps what it has been given

  void keep(job::Item item, double seconds, std::string record);
  // Waits until all that was given is kept and reported.
  void drain();

 private:
  struct Finished {
    job::Item item;
    double seconds;
    std::string record;
  };

  void serve();

  const job::WorkerClient& client_;
  store::LogWriter& log_;
  LoggingTime& time_;
  job::Watchdog* watchdog_;
  std::function<void(std::exception_ptr)> on_failure_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Finished> waiting_;
  bool is_busy_ = false;
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace evalmpi::eval

#include "record_keeper.h"

#include <chrono>
#include <utility>

#include "time_spent.h"

namespace evalmpi::eval {

RecordKeeper::RecordKeeper(const job::WorkerClient& client, store::LogWriter& log, LoggingTime& time,
                           job::Watchdog* watchdog, std::function<void(std::exception_ptr)> on_failure)
    : client_(client), log_(log), time_(time), watchdog_(watchdog), on_failure_(std::move(on_failure)), thread_([this] {
        serve();
      }) {}

RecordKeeper::~RecordKeeper() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void RecordKeeper::keep(job::Item item, double seconds, std::string record) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(item), seconds, std::move(record)});
  }
  changed_.notify_all();
}

void RecordKeeper::drain() {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.empty() && !is_busy_; });
  time_.waited_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void RecordKeeper::serve() {
  const auto heartbeat = job::heartbeat_of(watchdog_, "log");
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return !waiting_.empty() || is_ending_; });
    if (waiting_.empty()) break;
    const Finished finished = std::move(waiting_.front());
    waiting_.pop_front();
    is_busy_ = true;
    lock.unlock();
    heartbeat->enter("writing a record", job::Judged::kAlone);
    heartbeat->set_chunk(finished.item.id);
    try {
      const store::LogPosition position = log_.append(finished.record);
      client_.finished(finished.item, finished.seconds, finished.record, log_.path().filename().string(), position);
    } catch (...) {
      on_failure_(std::current_exception());
    }
    heartbeat->enter("waiting for records", job::Judged::kNever);
    lock.lock();
    is_busy_ = false;
    changed_.notify_all();
  }
  time_.cpu_seconds += thread_cpu_seconds();
}

}  // namespace evalmpi::eval

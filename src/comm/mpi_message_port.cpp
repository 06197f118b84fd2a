// MPI cannot wake a sleeping thread, so a waiting one looks, and sleeps a little longer each time: 50 us at first, 2 ms
// at last, when a core is worth more than the delay.

#include "mpi_message_port.h"

#include <algorithm>
#include <list>
#include <thread>
#include <utility>

namespace evalmpi::comm {
namespace {

constexpr std::chrono::microseconds kFirstSleep{50};
constexpr std::chrono::microseconds kLongestSleep{2000};

class MpiPort final : public MessagePort::Impl {
 public:
  explicit MpiPort(MPI_Comm comm) : group_(comm) {}

  // What was never received is left to MPI, which still reads from it, until the process ends.
  ~MpiPort() override {
    if (!mpi_is_running() || !has_completed_quietly()) {
      static_cast<void>(new std::list<Pending>(std::move(pending_)));
    }
  }

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }

  void post(int rank, int tag, std::string bytes) override {
    if (rank == group_.rank()) {
      own_.put({rank, tag, std::move(bytes)});
      return;
    }
    const std::lock_guard lock(mutex_);
    reap();
    Pending& message = pending_.emplace_back(MPI_REQUEST_NULL, std::move(bytes));
    check_mpi(MPI_Isend(message.bytes.data(), static_cast<int>(message.bytes.size()), MPI_BYTE, rank, tag,
                        group_.comm(), &message.request),
              "MPI_Isend");
  }

  std::optional<Message> receive(std::span<const int> tags, std::chrono::milliseconds timeout) override {
    const Clock::time_point deadline = deadline_after(timeout);
    std::chrono::microseconds sleep = kFirstSleep;
    for (;;) {
      for (const int tag : tags) {
        if (std::optional<Message> message = fetch(tag)) {
          return message;
        }
      }
      // Also the sleep: mail to oneself ends it at once.
      const Clock::time_point now = Clock::now();
      if (std::optional<Message> message = own_.take_until(tags, std::min(deadline, now + sleep))) {
        return message;
      }
      if (now >= deadline) {
        return std::nullopt;
      }
      sleep = std::min(2 * sleep, kLongestSleep);
      const std::unique_lock lock(mutex_, std::try_to_lock);
      if (lock.owns_lock()) {
        reap();
      }
    }
  }

  bool flush(std::chrono::milliseconds timeout) override {
    const Clock::time_point deadline = deadline_after(timeout);
    for (std::chrono::microseconds sleep = kFirstSleep;; sleep = std::min(2 * sleep, kLongestSleep)) {
      if (completed()) {
        return true;
      }
      if (Clock::now() >= deadline) {
        return false;
      }
      std::this_thread::sleep_for(sleep);
    }
  }

 private:
  struct Pending {
    Pending(MPI_Request r, std::string b) : request(r), bytes(std::move(b)) {}
    MPI_Request request;
    std::string bytes;
  };

  bool completed() {
    const std::lock_guard lock(mutex_);
    reap();
    return pending_.empty();
  }

  bool has_completed_quietly() noexcept {
    try {
      return completed();
    } catch (...) {
      return false;
    }
  }

  // Forgets what has left. mutex_ is held.
  void reap() {
    for (auto message = pending_.begin(); message != pending_.end();) {
      int done = 0;
      check_mpi(MPI_Test(&message->request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      message = done ? pending_.erase(message) : std::next(message);
    }
  }

  std::optional<Message> fetch(int tag) {
    int found = 0;
    MPI_Message handle;
    MPI_Status status;
    check_mpi(MPI_Improbe(MPI_ANY_SOURCE, tag, group_.comm(), &found, &handle, &status), "MPI_Improbe");
    if (!found) {
      return std::nullopt;
    }
    int count = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &count), "MPI_Get_count");
    Message message{status.MPI_SOURCE, tag, std::string(count, '\0')};
    check_mpi(MPI_Mrecv(message.bytes.data(), count, MPI_BYTE, &handle, &status), "MPI_Mrecv");
    return message;
  }

  MpiGroup group_;
  Inbox own_;
  std::mutex mutex_;
  std::list<Pending> pending_;  // addresses stay: MPI reads from them
};

}  // namespace

std::unique_ptr<MessagePort::Impl> make_mpi_port(MPI_Comm comm) { return std::make_unique<MpiPort>(comm); }

}  // namespace evalmpi::comm

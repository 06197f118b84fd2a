#pragma once

// Whether the other processes are alive. Every rank says about once a second what it is doing, and rank 0 answers. So
// rank 0 notices a rank that is stopped, lost or cut off, and the others notice it of rank 0, whatever they are doing:
// the messages go by a thread of their own. A dead process is the launcher's business, which is quicker.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "evalmpi/job/watchdog.h"

namespace evalmpi::comm {
class Communicator;
class MessagePort;
}  // namespace evalmpi::comm

namespace evalmpi::job {

struct RankHome {
  std::string host;
  int64_t pid = 0;
};
std::string describe(int rank, const RankHome& home);  // 'rank 3 on node7 (process 812)'

// COLLECTIVE: where every rank lives, on all ranks.
std::vector<RankHome> find_homes(comm::Communicator& world, const std::string& host);

// What rank 0 knows of a rank.
struct RankSign {
  RankHome home;
  ThreadSign thread;          // as it last said, its still_seconds until now
  double silent_seconds = 0;  // since it last said something
};

class RollCall {
 public:
  using Clock = std::chrono::steady_clock;

  // Starts the thread if the watchdog has a hang_timeout and there are several ranks. Nobody else receives kToRollCall
  // and kFromRollCall (wire.h) on `port`. All outlive this object.
  RollCall(comm::MessagePort& port, Watchdog& watchdog, std::vector<RankHome> homes);
  // Without a thread: its owner calls step().
  struct Stepped {};
  RollCall(comm::MessagePort& port, Watchdog& watchdog, std::vector<RankHome> homes, Stepped);
  RollCall(const RollCall&) = delete;
  RollCall& operator=(const RollCall&) = delete;
  ~RollCall();  // without finish() before: the others will miss this rank

  // COLLECTIVE: the planned end. Returns on rank 0 when all others have come here.
  void finish();

  // What the thread does each time: sends and answers what is due at `now`. Returns the line about the rank that has
  // been silent for longer than hang_timeout, if there is one. Only time that was seen passing counts, as in
  // Watchdog::check.
  std::optional<std::string> step(Clock::time_point now);
  // Rank 0: whether all others have left. Others: whether rank 0 knows that this one has.
  bool is_over() const;
  void leave();  // of finish(): this rank has nothing more to do

  // On rank 0: what is known of all ranks, itself included.
  std::vector<RankSign> ranks();

 private:
  using Seconds = std::chrono::duration<double>;
  struct Peer {
    ThreadSign last;
    Seconds silent{0};
    bool has_left = false;
  };
  void run();
  void serve_ranks();
  void hear_rank_0(Clock::time_point now);
  std::optional<std::string> silence(Seconds passed);

  comm::MessagePort& port_;
  Watchdog& watchdog_;
  const std::vector<RankHome> homes_;
  const Seconds say_every_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Peer> peers_;  // on rank 0 all ranks, elsewhere rank 0
  std::optional<Clock::time_point> last_step_;
  std::optional<Clock::time_point> last_said_;
  bool awaits_answer_ = false;
  bool leaves_ = false;
  bool has_said_leave_ = false;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace evalmpi::job

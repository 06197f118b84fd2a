#pragma once

// A member's link to its group of devices, and the thread that looks whether what was put on it comes to its end.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "nccl_group.h"

namespace evalmpi::comm {

// Where a member lives, so that its death is noticed. Members of one host and one pid namespace can see each other.
struct MemberHome {
  int world_rank = 0;
  std::string host;
  std::string pid_namespace;
  int64_t pid = 0;
  std::string start;  // of the process (base/process.h)
};
std::string describe(const MemberHome& home);  // 'rank 3 on node7 (process 812)'

class NcclWatch {
 public:
  // homes: of all members, by rank in the group.
  NcclWatch(NcclLibrary& library, NcclLibrary::Link link, std::vector<MemberHome> homes, int own_rank,
            const NcclGroup::Options& options);
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;
  ~NcclWatch();  // the planned end; an abort when an exception unwinds or something has failed

  // Returns when the link is ready for the next verb. Throws as run().
  void settle(const std::string& verb);

  // Puts a verb on the stream, returns when the link is ready for the next one and watches it from then on.
  // Throws Error kUnavailable with what has failed, now or since the last call.
  void run(const std::string& verb, const std::function<void(NcclLibrary::Link)>& enqueue);

 private:
  using Clock = std::chrono::steady_clock;
  struct Expected {
    std::string verb;
    std::unique_ptr<NcclLibrary::Mark> mark;  // null: the link itself is not ready yet
  };

  void expect(const std::string& verb, std::unique_ptr<NcclLibrary::Mark> mark);
  void watch(const std::stop_token& token);
  std::optional<std::string> problem();
  std::optional<std::string> awaited_verb();
  std::vector<int> gone() const;
  bool is_late(Clock::time_point since) const;
  std::string late(const std::string& verb) const;
  std::string failed(const std::string& verb, const std::string& why) const;
  std::string others() const;
  void give_up(const std::string& why);
  void throw_failure();

  NcclLibrary& library_;
  const std::vector<MemberHome> homes_;
  const int own_rank_;
  const NcclGroup::Options options_;
  std::vector<int> visible_;  // members whose processes this one could see in the beginning

  std::mutex link_mutex_;  // one thread at a time asks the library; none after an abort
  const NcclLibrary::Link link_;
  bool aborted_ = false;

  std::mutex mutex_;
  std::deque<Expected> expected_;  // in the order of the stream
  Clock::time_point since_;        // the first of them is awaited from then on
  std::string settling_;           // the verb whose call is under way
  std::string failure_;
  int looks_at_gone_ = 0;
  std::condition_variable_any wake_;
  std::jthread thread_;  // the last member: it ends before the others go
};

}  // namespace evalmpi::comm

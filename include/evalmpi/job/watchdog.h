#pragma once

// Ends a process that makes no progress and says where it stood. The thread makes no MPI calls, so a hang inside MPI,
// a driver or a file system does not stop it. Whether the process as a whole is alive is for the others to see:
// roll_call.h.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/base/steps.h"

namespace evalmpi::job {

// How a thread that shows no progress is judged. A slow one must never be taken for a hung one, so work is seen by what
// it uses, and fixed limits hold only where nothing but the other ranks can be slow.
enum class Judged : uint8_t {
  kNever,   // waits for work or for others, whose silence is theirs
  kAlone,   // hung when for hang_timeout it neither beat nor used its core, and when for four times that (ten times the
            // longest pause so far, if that is more) it did not beat: then it turns in circles
  kHelped,  // as the first of kAlone, of the whole process: other threads, or reads, do the work; never while it waits
            // for other ranks, which may be slow in what is theirs
  kStrict,  // hung when it does not beat for hang_timeout, whatever it uses
};

// One thread's sign of life. Written by its owner, read by the watchdog.
class Heartbeat {
 public:
  // From now on `phase` (a string literal) is what the thread does. Counts as a beat.
  void enter(const char* phase, Judged judged) noexcept;
  void beat() noexcept { steps_->count.fetch_add(1, std::memory_order_relaxed); }
  // The chunk in hand, for the message. Counts as a beat.
  void set_chunk(uint64_t chunk) noexcept;

 private:
  friend class Watchdog;
  std::atomic<const char*> phase_{"start"};
  std::atomic<Judged> judged_{Judged::kNever};
  std::atomic<uint64_t> chunk_{UINT64_MAX};
  std::shared_ptr<ThreadSteps> steps_ = steps_of_this_thread();
};

// The present thread's heartbeat of `watchdog`; of none, one that nobody reads.
std::shared_ptr<Heartbeat> heartbeat_of(class Watchdog* watchdog, std::string thread_name);

// What a thread is doing, for messages and status.json.
struct ThreadSign {
  std::string thread;
  std::string phase;
  std::optional<uint64_t> chunk;
  double still_seconds = 0;  // since its last beat
};
// 'in phase "score", lane 0, chunk 42, without progress for 1.5 s'; the last from a second on
std::string describe(const ThreadSign& sign);

class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;
  struct Options {
    std::chrono::milliseconds hang_timeout{300'000};  // zero: nothing is watched
    std::chrono::milliseconds period{250};
    std::chrono::milliseconds grace{5'000};  // for `ending` and `abort`; then _exit
    // What a thread has used of its core, and all threads of theirs and in reads, in seconds; empty: as the system
    // says.
    std::function<double(int clock)> seconds_of_thread = {};
    std::function<double()> seconds_of_process = {};
  };

  explicit Watchdog(Options options);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

  const Options& options() const { return options_; }

  // The present thread's heartbeat, watched as long as somebody holds it.
  std::shared_ptr<Heartbeat> watch(std::string thread_name);

  // How messages call this process: 'rank 3 on node7 (process 812)'.
  void set_name(std::string name);
  // How the job is ended: `ending` notes the line where users look (it may hang, like the rest, and then counts for
  // nothing), `abort` ends all ranks. Either may be empty. Does not return while they run.
  using Ending = std::function<void(ExitCode code, const std::string& line)>;
  using Abort = std::function<void(ExitCode code)>;
  void set_ending(Ending ending);
  void set_abort(Abort abort);

  // Begins to watch in an own thread.
  void start();

  // What the thread does at each period: the line about the first hung thread at `now`, if there is one. Only time that
  // was seen passing counts: of a longer pause between two calls (a suspended job, a stopped machine) four periods.
  std::optional<std::string> check(Clock::time_point now);

  // What the process is doing: the thread that works without progress for longest; if none works, the waiting one that
  // did something last (of several heartbeats of a thread the newest).
  ThreadSign sign();

  // Says `line` on stderr and ends the job, by default as one that may be started again. Safe from any thread, at most
  // one gets through.
  [[noreturn]] void end_job(const std::string& line, ExitCode code = ExitCode::kStoppedEarly);

 private:
  using Seconds = std::chrono::duration<double>;
  struct Watched {
    std::string name;
    std::weak_ptr<Heartbeat> heartbeat;
    int cpu_clock = 0;
    uint64_t steps = 0;
    const char* phase = nullptr;
    Seconds still{0};  // since the last beat
    Seconds idle{0};   // since the last beat or use of a core
    Seconds longest_still{0};
    double cpu_seconds = 0;  // at the last sign of life
    double process_work = 0;
  };
  void run();
  bool is_hung(Watched& watched, const Heartbeat& heartbeat, Seconds passed) const;

  Options options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::string name_ = "this process";
  std::vector<Watched> watched_;
  std::optional<Clock::time_point> last_check_;
  bool done_ = false;
  std::mutex ending_mutex_;
  Ending ending_;
  std::mutex abort_mutex_;
  Abort abort_;
  std::atomic<bool> is_ending_{false};
  std::thread thread_;
};

}  // namespace evalmpi::job

#pragma once

// One run at a time in an output directory, on any file system and across hosts: a lock file that its holder keeps
// fresh. Locks of the file system itself are used where they work, but nothing rests on them.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "evalmpi/base/json.h"

namespace evalmpi::store {

// Creates the directory (and its parents) if need be and proves that a file can be made in it.
// FAILS: kCannotWrite when it is a file or not writable, kIo on a full disk.
void prepare_output_directory(const std::filesystem::path& directory);

// How long another host's holder may be silent. Tests replace the clock.
struct LockPatience {
  std::chrono::milliseconds silence{30'000};
  std::chrono::milliseconds poll{500};
  std::function<void(std::chrono::milliseconds)> wait;         // empty: sleeps
  std::function<std::chrono::steady_clock::time_point()> now;  // empty: steady_clock::now
};

class OutputLock {
 public:
  // Takes `directory`/output.lock. `holder` is an object that messages show ("run": the run id); host, process id and
  // its start are added. A lock of a dead process on this host is taken over at once. One of another host is watched:
  // it is taken over after its heartbeat stood still for patience.silence of our own clock; who is waited for is
  // logged. FAILS: kCannotWrite naming the holder's host, process and start when it is alive; kIo.
  static OutputLock acquire(const std::filesystem::path& directory, const Json& holder,
                            const LockPatience& patience = {});

  OutputLock(OutputLock&& other) noexcept;
  OutputLock& operator=(OutputLock&&) = delete;
  ~OutputLock();  // releases if still ours

  // Shows other hosts that we live; call it every few seconds, from one thread at a time.
  // FAILS: kCannotWrite when another run has taken the directory meanwhile, kIo.
  void beat();

 private:
  OutputLock() = default;
  bool is_ours() const;

  std::filesystem::path path_;
  Json content_;
  uint64_t beats_ = 0;
  int fd_ = -1;
};

// Who holds a directory, for readers: nothing is changed or waited for.
enum class HolderLife {
  kNobody,   // there is no lock
  kAlive,    // a process of this host
  kDead,     // it was a process of this host and is gone
  kUnknown,  // a process of another host; only its heartbeat can tell
};
struct Holder {
  HolderLife life = HolderLife::kNobody;
  Json description = Json::object();  // "run", "host", "pid", "started"
  std::string heartbeat;              // changes while it lives
};
// FAILS: kIo.
Holder holder_of(const std::filesystem::path& directory);

}  // namespace evalmpi::store

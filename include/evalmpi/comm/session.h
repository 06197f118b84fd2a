#pragma once

// The process's one connection to the others: MPI from its start to its end. Without a launcher there is no MPI, and a
// session of one rank.

#include <memory>
#include <string>

#include "evalmpi/base/error.h"
#include "evalmpi/comm/communicator.h"
#include "evalmpi/comm/launch.h"
#include "evalmpi/comm/message_port.h"

namespace evalmpi::comm {

// A session that goes away without finish() does nothing, so that a thrown Error reaches main, where
//   SharedError (together.h): every rank has it: print it where is_reporter(), finish(), return its code;
//   any other exception: print it, abort(code).
class Session final {
 public:
  // COLLECTIVE over all ranks of the job; once per process, on the main thread. Starts MPI (MPI_THREAD_MULTIPLE) when
  // there is a launcher. Log lines carry the rank from here on when there are several.
  // FAILS: kUnavailable when MPI does not start, or cannot serve several threads.
  static Session start(const Launch& launch);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) = delete;
  ~Session();

  const Launch& launch() const;
  int rank() const;
  int size() const;
  const std::string& host_name() const;
  int host_index() const;  // hosts are counted in the order of their lowest rank
  int host_count() const;
  int local_rank() const;  // among the ranks that share this host's memory
  int local_size() const;

  // All ranks; control plane, main thread only.
  Communicator& world();
  // Mail between all ranks.
  MessagePort& port();

  // COLLECTIVE: the planned end. Communicators made from this session are not used afterwards.
  void finish();

  // Ends the job on all ranks with this code. Safe from any thread.
  [[noreturn]] void abort(ExitCode code) noexcept;

 private:
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace evalmpi::comm

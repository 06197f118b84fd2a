#pragma once

// What a command that runs on ranks stands in: MPI from start to end, watched all the way.

#include <functional>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/comm/session.h"
#include "evalmpi/device/devices.h"
#include "evalmpi/eval/options.h"
#include "evalmpi/job/roll_call.h"
#include "evalmpi/job/watchdog.h"

namespace evalmpi::cli {

struct WatchedSession {
  comm::Session& session;
  job::Watchdog& watchdog;
  job::RollCall& roll_call;
  std::vector<device::Device> devices;  // of this rank, the first bound to this thread
};

// COLLECTIVE over all ranks of the job: starts MPI if there is a launcher, runs the body and ends MPI; says an error
// once and returns its code. An error that is not every rank's ends the job. Before MPI the rank's device is bound.
ExitCode in_watched_session(const eval::EvalOptions& options,
                            const std::function<ExitCode(const WatchedSession&)>& body);

}  // namespace evalmpi::cli

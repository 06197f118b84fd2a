#pragma once

// What a command that runs on ranks stands in: MPI from start to end, watched all the way.

#include <functional>
#include <optional>

#include "evalmpi/base/error.h"
#include "evalmpi/comm/session.h"
#include "evalmpi/job/roll_call.h"
#include "evalmpi/job/watchdog.h"

namespace evalmpi::cli {

struct WatchedSession {
  comm::Session& session;
  job::Watchdog& watchdog;
  job::RollCall& roll_call;
};

// COLLECTIVE over all ranks of the job: starts MPI if there is a launcher, runs the body and ends MPI; says an error
// once and returns its code. An error that is not every rank's ends the job. hang_timeout_seconds: --hang-timeout.
ExitCode in_watched_session(std::optional<double> hang_timeout_seconds,
                            const std::function<ExitCode(const WatchedSession&)>& body);

}  // namespace evalmpi::cli

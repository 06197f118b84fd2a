#include "watched_session.h"

#include <algorithm>

#include "evalmpi/base/log.h"
#include "evalmpi/comm/bound_devices.h"
#include "evalmpi/comm/launch.h"
#include "evalmpi/comm/together.h"

namespace evalmpi::cli {
namespace {

using std::chrono::milliseconds;

job::Watchdog::Options watchdog_options(std::optional<double> hang_timeout_seconds) {
  job::Watchdog::Options options;
  if (hang_timeout_seconds) options.hang_timeout = milliseconds(static_cast<int64_t>(*hang_timeout_seconds * 1000));
  options.period = std::clamp(options.hang_timeout / 8, milliseconds(10), options.period);
  return options;
}

ExitCode run_body(const WatchedSession& watched, const std::function<ExitCode(const WatchedSession&)>& body) {
  try {
    return body(watched);
  } catch (const comm::SharedError& error) {
    if (error.is_reporter()) log::error("{}", error.what());
    return error.code();
  }
}

}  // namespace

ExitCode in_watched_session(const eval::EvalOptions& options,
                            const std::function<ExitCode(const WatchedSession&)>& body) {
  const comm::Launch launch = comm::recognise_launch(comm::process_environment());
  const device::Choice choice = eval::parse_device(options.device);
  job::Watchdog watchdog(watchdog_options(options.hang_timeout));
  const auto heartbeat = watchdog.watch("main");
  watchdog.set_name(fmt::format("rank {}", launch.rank));
  watchdog.start();
  heartbeat->enter("finding devices", job::Judged::kStrict);
  const comm::BoundDevices bound = comm::bind_devices(choice, launch, options.devices_per_rank);
  heartbeat->enter("starting MPI with the other ranks", job::Judged::kStrict);
  comm::Session session = comm::Session::start(launch);
  watchdog.set_abort([&session](ExitCode code) { session.abort(code); });
  try {
    const std::vector<job::RankHome> homes = job::find_homes(session.world(), session.host_name());
    watchdog.set_name(job::describe(session.rank(), homes[static_cast<size_t>(session.rank())]));
    job::RollCall roll_call(session.port(), watchdog, homes);
    heartbeat->enter("running", job::Judged::kNever);
    const ExitCode code = run_body({session, watchdog, roll_call, {}}, [&](const WatchedSession& watched) {
      comm::agree(session.world(), "bind the devices", bound.failure);
      return body({watched.session, watched.watchdog, watched.roll_call, bound.devices});
    });
    roll_call.finish();
    heartbeat->enter("ending MPI", job::Judged::kStrict);
    session.finish();
    heartbeat->enter("over", job::Judged::kNever);
    return code;
  } catch (...) {
    const comm::Failure failure = comm::current_failure();
    log::error("{}", failure.message);
    session.abort(failure.code);
  }
}

}  // namespace evalmpi::cli

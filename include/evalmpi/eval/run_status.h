#pragma once

// `evalmpi status`: what status.json of a run says, and whether the run is alive. Only reads, from any host.

#include <filesystem>
#include <optional>
#include <string>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"

namespace evalmpi::eval {

struct RunStatus {
  // As in status.json (store/status_file.h), or "silent": it says that the run is at work, but that is gone, or has not
  // been heard of for half a minute.
  std::string state;
  double age_seconds = 0;        // of the last sign of life, by this host's clock against the file's
  std::string why_silent;        // for people; empty unless silent
  Json status = Json::object();  // status.json
  std::string heartbeat;         // changes while the run lives
};

// FAILS: kMissingInput when no run has ever worked in `directory`, kBadInput for a damaged status.json, kIo.
RunStatus read_run_status(const std::filesystem::path& directory);

// What the run came to: exit_code of a run that has ended, kStoppedEarly of a silent one; nullopt while it is at work.
std::optional<ExitCode> outcome(const RunStatus& status);

// state, age_seconds and why_silent before the fields of status.json.
Json to_json(const RunStatus& status);

// A few lines: state, layout, progress, tasks with their scores so far, the slowest rank, the last error. They end with
// a line break.
std::string to_text(const RunStatus& status, const std::filesystem::path& directory);

// One line of it, without what changes all the time.
std::string summary_line(const RunStatus& status);

}  // namespace evalmpi::eval

#pragma once

// `evalmpi eval`, `generate` and `logprobs`: from options to published results, in the ten hops of README's "The way of
// the data".

#include <chrono>
#include <string>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/comm/session.h"
#include "evalmpi/device/devices.h"
#include "evalmpi/eval/combinations.h"
#include "evalmpi/eval/file_options.h"
#include "evalmpi/job/roll_call.h"
#include "evalmpi/job/watchdog.h"

namespace evalmpi::eval {

struct RunContext {
  std::string what = "eval";  // names a new output folder: runs/<what>-<time>
  std::chrono::steady_clock::time_point process_start = std::chrono::steady_clock::now();
  job::Watchdog* watchdog = nullptr;   // watches the run's threads; it is told how to note an end
  job::RollCall* roll_call = nullptr;  // for status.json
  // What the places of this rank may be on, the first bound to this thread (comm::bind_devices).
  std::vector<device::Device> devices = {device::local_cpu()};
};

// Evaluates every combination and publishes: table on rank 0's stdout, files in the output folder (grammar:
// store/results_file.h; results_*.json and samples_*.jsonl have lm-evaluation-harness's keys). Returns kComplete, or
// kStoppedEarly with everything finished saved.
//
// Several combinations are runs one after another, each in the folder OUTPUT/<its name>; what stands in OUTPUT itself:
//   status.json          the job's state, with the number of combinations done and the present one's own status
//   comparison.csv, .md  when all are done: every task and metric with each combination's value, standard error, and
//   paired
//                        difference from the first combination (summary.h)
// A second start goes through all of them and computes what is missing. The weights of a model are read once.
//
// COLLECTIVE over the session. FAILS: comm::SharedError when all ranks know of the failure and no lane is running;
// otherwise it reports and ends the job by Session::abort.
ExitCode run(comm::Session& session, const JobOptions& options, const RunContext& context);

// `evalmpi generate` and `evalmpi logprobs`: the lines of a user's file. In the output folder: outputs.jsonl (a line
// for each line of the file, in order; grammar: src/eval/file_lines.h), summary.json, and all that a run has. A start
// with a longer file computes the new lines only. The copy options.output_file is written before the run is called
// complete. COLLECTIVE, returns, FAILS: as run.
ExitCode run(comm::Session& session, const FileOptions& options, const RunContext& context);

// --dry-run of the two: as plan.
std::string plan(const FileOptions& options);

// `evalmpi plan`: the mesh, shards, memory, requests, tokens and chunks of the same options, as text for stdout, for
// every combination. Runs no model and needs no ranks. FAILS: as run, before anything is computed.
std::string plan(const JobOptions& options);

}  // namespace evalmpi::eval

#pragma once

// The files of a finished run, in this order: samples_*.jsonl (each task's as it finishes), results.h5,
// results_<time>.json; then the table on stdout. status.json says "complete" after all of them. Rank 0 only.

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/eval/options.h"
#include "evalmpi/task/task.h"
#include "results.h"
#include "setup.h"
#include "verification.h"

namespace evalmpi::eval {

struct TokenCounts {
  int64_t naive = 0;     // if every request were computed alone
  int64_t distinct = 0;  // nodes of the token tries
  int64_t computed = 0;  // rows that this attempt put through the model
};

// What is being published; grows part by part.
struct Published {
  std::filesystem::path directory;
  std::string time_id;  // in file names
  TokenCounts tokens;
  std::vector<TokenCounts> part_tokens;
  std::set<int32_t> records_of_other_classes;
  Json files = Json::array();
};

// By rank.
struct MemoryFacts {
  int64_t token_budget = 0;
  std::string why_this_budget;
  std::vector<int64_t> predicted_bytes;
  std::vector<int64_t> peak_bytes;              // measured, of the process's whole life
  std::vector<int64_t> device_predicted_bytes;  // by device
  std::vector<int64_t> device_peak_bytes;       // by place: what its process took of its device at most
};

// What /run and the results JSON tell about the run besides the numbers.
struct RunFacts {
  const EvalOptions* options = nullptr;
  const Setup* setup = nullptr;
  std::string layout;
  std::string numerics_class;
  std::string dtype = "float32", device = "cpu";  // what matrices are multiplied in, and where: cpu or cuda
  Json identities;
  std::string host;
  std::string run_id;
  int attempt = 0;
  double seconds = 0;
  double first_chunk_seconds = 0;  // from process start; 0: nothing was computed
  Json timings;                    // name_seconds -> seconds
  uint64_t bytes_read = 0;         // of weights, by rank 0
  MemoryFacts memory;
  Json devices = Json::array();  // device_figures.h, with rank and host
  Verification::Counts verified;
  bool is_rebuilt = false;  // from the logs: only the files are asked for, nothing is printed
};

// Writes the samples file of a task. FAILS: kCannotWrite, kIo.
void write_samples(Published& published, const TaskReport& report);

// Writes results.h5, whose /run says in "results" what results_json() does, and results_<time>.json; prints the table.
// tasks: as reports. FAILS: kCannotWrite, kIo.
void publish_run(Published& published, std::vector<TaskReport>& reports, const std::vector<const task::Task*>& tasks,
                 const std::vector<task::GroupConfig>& groups, const RunFacts& facts);

// "2026-11-22T10-15-00.123456": local time as the harness names its files.
std::string local_time_id();

// Prints what there is to say of any run besides its results: other numerics classes, verified chunks, timings, memory.
void print_run_notes(const Published& published, const RunFacts& facts);

// A task's or model's name as part of a file name.
std::string file_part(const std::string& name);

}  // namespace evalmpi::eval

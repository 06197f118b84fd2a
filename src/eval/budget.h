#pragma once

// How many rows a segment has, and whether what a run will hold fits the memory of its hosts. Pure functions of the
// model's description and of what each rank says of its host, so `plan` and a run come to the same figures.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/engine/plan.h"
#include "evalmpi/model/memory.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/task/task.h"
#include "generation.h"
#include "workload.h"

namespace evalmpi::eval {

// A place's CUDA device.
struct DeviceSituation {
  std::string identity;  // places that say the same share the device
  std::string name;
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;  // before anything of this run is on it, but for its context
  model::DType product_type = model::DType::kBFloat16;
};

// A rank as the memory model sees it.
struct RankSituation {
  std::string host;
  device::Memory memory;      // of its host or cgroup
  int64_t program_bytes = 0;  // resident before weights and documents: program, libraries, tokenizer, task files
  std::vector<int> tp_ranks;  // of its places
  std::vector<int> lanes;     // of its places
  std::vector<DeviceSituation> devices = {};  // of its places; none: they compute on the CPU
};
Json to_json(const RankSituation& rank);
RankSituation rank_situation_from_json(const Json& json);

// What the documents of a task take, examples included.
int64_t document_bytes(const task::Task& task);

// What all parts of a run need at once; grows as they are read.
struct Demand {
  int64_t request_bytes = 0;     // on rank 0, until the run ends: documents, requests, their tokens
  int64_t transient_bytes = 0;   // on rank 0, while the largest part is planned or reported
  int64_t positions = 0;         // the longest sequence, generated tokens included
  int64_t largest_chunk = 0;     // rows
  int64_t generation_paths = 0;  // sequences that run side by side on a lane; 0: nothing is generated
  bool has_scores = false;

  // document_bytes: what is held besides the requests.
  void add(const TaskRequests& requests, int64_t document_bytes, const std::optional<GenerationPlan>& generation,
           const PlannedTask& planned);
};

// Of the host.
struct RankMemory {
  int64_t program = 0, weights = 0, loading = 0, requests = 0;
  model::LaneBytes lanes;  // of all lanes
  // Loading is over before the lanes work.
  int64_t total() const { return program + weights + requests + std::max(loading, lanes.total()); }
};

// demand: of the run; request bytes count for rank 0 only.
RankMemory rank_memory(const model::ModelSpec& spec, int tp, const RankSituation& rank, bool is_root,
                       int64_t token_budget, const Demand& demand);

// The host that comes closest to its limit.
struct HostMemory {
  std::string host;
  int64_t predicted_bytes = 0;
  device::Memory memory;
};
HostMemory fullest_host(const model::ModelSpec& spec, int tp, const std::vector<RankSituation>& ranks,
                        int64_t token_budget, const Demand& demand);

// One device, with all places that are on it.
struct DeviceMemory {
  std::string where;  // "NVIDIA H200 on host a"
  int64_t weights = 0, libraries = 0;
  model::LaneBytes lanes;
  int64_t device_bytes = 0;  // its memory
  int64_t others_bytes = 0;  // what other programs, and contexts, had of it before
  int64_t predicted_bytes() const { return weights + libraries + lanes.total(); }
  double fill() const {
    return static_cast<double>(predicted_bytes() + others_bytes) /
           static_cast<double>(std::max<int64_t>(1, device_bytes));
  }
};
// In the order of ranks and places; empty where everything is computed on CPUs.
std::vector<DeviceMemory> device_memory(const model::ModelSpec& spec, int tp, const std::vector<RankSituation>& ranks,
                                        int64_t token_budget, const Demand& demand);
// The one that is closest to being full.
std::optional<DeviceMemory> fullest_device(const model::ModelSpec& spec, int tp,
                                           const std::vector<RankSituation>& ranks, int64_t token_budget,
                                           const Demand& demand);

// What the sequences that are generated side by side may have of a device for their keys and values.
int64_t device_slot_bytes(const model::ModelSpec& spec, int tp, const DeviceSituation& device);

struct TokenBudget {
  int64_t rows = 0;
  std::string why;  // one clause for people
  std::optional<std::string> warning;
};

// asked: absent for auto: the largest step of the ladder 64, 128, .. 1024 (on devices .. 8192) with which every host
// stays below 85 % of what it has available, and every device below 85 % of its memory (figures: src/DECISIONS.md). A
// device is full at 90 %. FAILS: kUsage when `asked` rows do not fit a host's memory but
// fewer would, naming the largest that fits; kUnavailable when none fits.
TokenBudget choose_token_budget(std::optional<int64_t> asked, const model::ModelSpec& spec, int tp,
                                const std::vector<RankSituation>& ranks);

// What an out-of-memory message adds: the prediction and what helps. Empty without ranks.
std::string memory_note(const model::ModelSpec& spec, int tp, const std::vector<RankSituation>& ranks,
                        int64_t token_budget, const Demand& demand);

// Once tasks are known. FAILS: kUnavailable when a host or a device cannot hold it. Returns a warning above 85 % of
// what it has.
std::optional<std::string> check_memory(const model::ModelSpec& spec, int tp, const std::vector<RankSituation>& ranks,
                                        int64_t token_budget, const Demand& demand);

// What is done instead of "--batch-size TEXT", for the log.
std::string batch_size_note(const std::string& text, int64_t token_budget);

// The rows of the next smaller step of the ladder on devices; 0: there is none.
int64_t next_device_step(int64_t rows);

std::string bytes_text(int64_t bytes);  // "1.5 GiB"

}  // namespace evalmpi::eval

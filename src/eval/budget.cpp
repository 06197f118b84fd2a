#include "budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>

#include "evalmpi/base/error.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/tensor_table.h"

namespace evalmpi::eval {
namespace {

// Rates and the reasons for these: src/DECISIONS.md.
constexpr int64_t kSteps[] = {1024, 512, 256, 128, 64};
constexpr int64_t kDeviceSteps[] = {8192, 4096, 2048, 1024, 512, 256, 128, 64};
constexpr int64_t kSlowDeviceRows = 512;
constexpr int64_t kEfficientRows = 256;  // from here on more rows gain less than 3 %
constexpr int64_t kSlowRows = 128;
constexpr double kChunkFlops = 3.2e11;  // about four seconds of one core
constexpr double kWarnAt = 0.85;
constexpr double kDeviceFullAt = 0.90;

// Libraries that are loaded, and stacks and heaps of threads that start, after the program's size was looked at.
constexpr int64_t kLaterProgramBytes = int64_t{24} << 20;
// Keys, indices, the table of answers, and the row of the results.
constexpr int64_t kBytesPerRequest = 350;
// While a task is reported: its full answers, and its samples as text that grows. Of a request, and of its prompt's
// tokens.
constexpr int64_t kReportBytesPerRequest = 600;
constexpr int64_t kReportBytesPerToken = 6;
constexpr int64_t kTokenBytes = 4;
// Kernels that are loaded when they are first used, and the libraries' own buffers, once a place.
constexpr int64_t kDeviceLibraryBytes = int64_t{512} << 20;
// Slices, messages and the whole are in memory at once while a task's requests are gathered.
constexpr int64_t kCopiesWhileGathered = 3;

// What lists and objects have allocated when they were filled one by one.
int64_t grown_capacity(size_t size) { return static_cast<int64_t>(std::bit_ceil(size)); }

int64_t heap_bytes(const Json& value) {
  constexpr int64_t kNode = 16, kMalloc = 16, kText = sizeof(std::string), kList = 24, kShortText = 15;
  const auto text_bytes = [](const std::string& text) {
    const auto size = static_cast<int64_t>(text.size());
    return kText + (size > kShortText ? size + kMalloc : 0);
  };
  int64_t bytes = kNode;
  if (value.is_string()) bytes += kMalloc + text_bytes(value.get_ref<const std::string&>());
  if (value.is_array()) {
    bytes += 2 * kMalloc + kList + kNode * (grown_capacity(value.size()) - static_cast<int64_t>(value.size()));
    for (const Json& item : value) bytes += heap_bytes(item);
  }
  if (value.is_object()) {
    bytes +=
        2 * kMalloc + kList + (kText + kNode) * (grown_capacity(value.size()) - static_cast<int64_t>(value.size()));
    for (const auto& [key, item] : value.items()) bytes += text_bytes(key) + heap_bytes(item);
  }
  return bytes;
}

double flops_per_token(const model::ModelSpec& spec) {
  const int64_t tables = (spec.tied_head ? 1 : 2) * spec.vocab * spec.hidden;
  return 2.0 * static_cast<double>(model::count_parameters(model::make_tensor_table(spec)) - tables);
}

std::string percent_text(const HostMemory& host) {
  return fmt::format("{} of {} on {}", bytes_text(host.predicted_bytes), bytes_text(host.memory.total_bytes),
                     host.host);
}

constexpr const char* kRemedies =
    "more places for each copy (--tp), fewer copies on a host (--dp), fewer lanes (--threads-per-lane), or a "
    "checkpoint in bfloat16, which stays as it is in memory";

constexpr const char* kDeviceRemedies =
    "more devices for each copy (--tp), --dtype bfloat16, a smaller --token-budget or --max-length, or a device that "
    "nobody else uses (nvidia-smi shows who does)";

std::string percent_text(const DeviceMemory& device) {
  return fmt::format("{} of {} ({} are in use) on {}", bytes_text(device.predicted_bytes()),
                     bytes_text(device.device_bytes), bytes_text(device.others_bytes), device.where);
}

bool fits(const HostMemory& host) { return host.predicted_bytes <= host.memory.total_bytes; }
bool is_comfortable(const HostMemory& host) {
  return static_cast<double>(host.predicted_bytes) <= kWarnAt * static_cast<double>(host.memory.available_bytes);
}
bool fits(const std::optional<DeviceMemory>& device) { return !device || device->fill() <= kDeviceFullAt; }
bool is_comfortable(const std::optional<DeviceMemory>& device) { return !device || device->fill() <= kWarnAt; }

// The fullest host and, where devices compute, the fullest device.
struct Fill {
  HostMemory host;
  std::optional<DeviceMemory> device;
  bool fits() const { return eval::fits(host) && eval::fits(device); }
  bool is_comfortable() const { return eval::is_comfortable(host) && eval::is_comfortable(device); }
  // What is too full, in words.
  std::string text() const {
    return eval::fits(host) && device && !eval::is_comfortable(device) ? percent_text(*device) : percent_text(host);
  }
  const char* remedies() const { return eval::fits(host) && !eval::fits(device) ? kDeviceRemedies : kRemedies; }
};

}  // namespace

// Of all rows of the split and of the split that examples come from, by a sample of the former.
int64_t document_bytes(const task::Task& task) {
  constexpr int64_t kSample = 64;
  const int64_t rows = task.n_rows(), step = std::max<int64_t>(1, rows / kSample);
  int64_t bytes = 0, looked_at = 0;
  for (int64_t row = 0; row < rows; row += step, ++looked_at) bytes += heap_bytes(task.document(row));
  return looked_at == 0 ? 0 : bytes / looked_at * (rows + task.n_pool_rows());
}

Json to_json(const RankSituation& rank) {
  Json devices = Json::array();
  for (const DeviceSituation& device : rank.devices) {
    devices.push_back({device.identity, device.name, device.total_bytes, device.free_bytes, device.product_type});
  }
  return {{"host", rank.host},
          {"total", rank.memory.total_bytes},
          {"available", rank.memory.available_bytes},
          {"program", rank.program_bytes},
          {"tp_ranks", rank.tp_ranks},
          {"lanes", rank.lanes},
          {"devices", devices}};
}

RankSituation rank_situation_from_json(const Json& json) {
  RankSituation rank;
  rank.host = json.at("host");
  rank.memory = {json.at("total"), json.at("available")};
  rank.program_bytes = json.at("program");
  rank.tp_ranks = json.at("tp_ranks").get<std::vector<int>>();
  rank.lanes = json.at("lanes").get<std::vector<int>>();
  for (const Json& device : json.at("devices")) {
    rank.devices.push_back({device.at(0), device.at(1), device.at(2), device.at(3), device.at(4)});
  }
  return rank;
}

void Demand::add(const TaskRequests& requests, int64_t document_bytes, const std::optional<GenerationPlan>& generation,
                 const PlannedTask& planned) {
  const int64_t token_bytes = planned.naive_tokens * kTokenBytes;
  request_bytes += document_bytes + static_cast<int64_t>(requests.size()) * kBytesPerRequest + token_bytes;
  const int64_t report_bytes =
      static_cast<int64_t>(requests.size()) * kReportBytesPerRequest + planned.naive_tokens * kReportBytesPerToken;
  transient_bytes = std::max({transient_bytes, (kCopiesWhileGathered - 1) * token_bytes, report_bytes});
  const int64_t generated = generation ? generation->max_new_tokens : 0;
  int64_t longest = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    longest = std::max(longest, requests.token_begin[i + 1] - requests.token_begin[i]);
  }
  positions = std::max(positions, longest + generated);
  for (const engine::PlannedChunk& chunk : planned.plan.chunks)
    largest_chunk = std::max(largest_chunk, chunk.cost_tokens);
  const auto generations = std::count(requests.targets.begin(), requests.targets.end(), 0);
  has_scores = has_scores || generations < static_cast<int64_t>(requests.size());
  if (generations == 0) return;
  // The largest chunk has an eighth of the prompts, or as many as there are slots where that is more
  // (engine::plan_generations).
  const GenerationPlan& plan = generation.value();
  const int64_t in_a_chunk = std::max<int64_t>(generations / 8, std::min<int64_t>(plan.room.most_slots, generations));
  const int64_t slots = plan.slots_for(longest);
  generation_paths = std::max(generation_paths, std::min(slots, in_a_chunk));
}

namespace {

model::LaneWork lane_work(int64_t token_budget, const Demand& demand) {
  model::LaneWork work;
  work.rows = demand.largest_chunk == 0 ? token_budget : std::min(token_budget, demand.largest_chunk);
  work.head_rows = demand.has_scores || demand.generation_paths == 0 ? work.rows : 0;
  work.logit_rows = demand.generation_paths;
  work.paths = 1 + demand.generation_paths;
  work.positions = demand.positions;
  return work;
}

}  // namespace

RankMemory rank_memory(const model::ModelSpec& spec, int tp, const RankSituation& rank, bool is_root,
                       int64_t token_budget, const Demand& demand) {
  const model::ShardPlan plan = model::make_shard_plan(spec, tp);
  RankMemory memory;
  memory.program = rank.program_bytes + kLaterProgramBytes;
  if (is_root) memory.requests = demand.request_bytes + demand.transient_bytes;
  if (!rank.devices.empty()) {
    memory.loading = static_cast<int64_t>(rank.devices.size()) * model::staging_bytes(model::kMaxLoadingThreads);
    return memory;
  }
  const model::LaneWork work = lane_work(token_budget, demand);
  for (size_t i = 0; i < rank.tp_ranks.size(); ++i) {
    const model::PlaceMemory place = model::place_memory(spec, plan, rank.tp_ranks[i], spec.source_dtype);
    const model::LaneBytes lane = place.of_lane(work);
    memory.weights += place.weight_bytes;
    memory.loading += place.loading_bytes(rank.lanes[i]);
    memory.lanes.key_values += rank.lanes[i] * lane.key_values;
    memory.lanes.activations += rank.lanes[i] * lane.activations;
    memory.lanes.head += rank.lanes[i] * lane.head;
  }
  return memory;
}

HostMemory fullest_host(const model::ModelSpec& spec, int tp, const std::vector<RankSituation>& ranks,
                        int64_t token_budget, const Demand& demand) {
  std::map<std::string, HostMemory> hosts;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const auto [at, is_new] = hosts.try_emplace(ranks[i].host, HostMemory{ranks[i].host, 0, ranks[i].memory});
    HostMemory& host = at->second;
    host.predicted_bytes += rank_memory(spec, tp, ranks[i], i == 0, token_budget, demand).total();
    host.memory.total_bytes = std::min(host.memory.total_bytes, ranks[i].memory.total_bytes);
    host.memory.available_bytes = std::min(host.memory.available_bytes, ranks[i].memory.available_bytes);
  }
  // What the ranks hold already is theirs to count on.
  for (const RankSituation& rank : ranks) hosts.at(rank.host).memory.available_bytes += rank.program_bytes;
  const auto fill = [](const HostMemory& host) {
    return static_cast<double>(host.predicted_bytes) /
           static_cast<double>(std::max<int64_t>(1, host.memory.total_bytes));
  };
  return std::max_element(hosts.begin(), hosts.end(),
                          [&](const auto& a, const auto& b) { return fill(a.second) < fill(b.second); })
      ->second;
}

std::vector<DeviceMemory> device_memory(const model::ModelSpec& spec, int tp, const std::vector<RankSituation>& ranks,
                                        int64_t token_budget, const Demand& demand) {
  const model::ShardPlan plan = model::make_shard_plan(spec, tp);
  const model::LaneWork work = lane_work(token_budget, demand);
  std::vector<std::string> identities;
  std::vector<DeviceMemory> devices;
  for (const RankSituation& rank : ranks) {
    for (size_t i = 0; i < rank.devices.size(); ++i) {
      const DeviceSituation& device = rank.devices[i];
      const auto at =
          static_cast<size_t>(std::find(identities.begin(), identities.end(), device.identity) - identities.begin());
      if (at == identities.size()) {
        identities.push_back(device.identity);
        devices.push_back({.where = device.name + " on " + rank.host, .lanes = {}, .device_bytes = device.total_bytes});
      }
      DeviceMemory& memory = devices[at];
      const model::PlaceMemory place = model::device_place_memory(spec, plan, rank.tp_ranks[i], device.product_type);
      const model::LaneBytes lane = place.of_lane(work);
      memory.weights += place.weight_bytes;
      memory.libraries += kDeviceLibraryBytes;
      memory.lanes.key_values += rank.lanes[i] * lane.key_values;
      memory.lanes.activations += rank.lanes[i] * lane.activations;
      memory.lanes.head += rank.lanes[i] * lane.head;
      memory.others_bytes = std::max(memory.others_bytes, device.total_bytes - device.free_bytes);
    }
  }
  return devices;
}

std::optional<DeviceMemory> fullest_device(const model::ModelSpec& spec, int tp,
                                           const std::vector<RankSituation>& ranks, int64_t token_budget,
                                           const Demand& demand) {
  const std::vector<DeviceMemory> devices = device_memory(spec, tp, ranks, token_budget, demand);
  if (devices.empty()) return std::nullopt;
  return *std::max_element(devices.begin(), devices.end(),
                           [](const DeviceMemory& a, const DeviceMemory& b) { return a.fill() < b.fill(); });
}

int64_t device_slot_bytes(const model::ModelSpec& spec, int tp, const DeviceSituation& device) {
  const model::PlaceMemory place =
      model::device_place_memory(spec, model::make_shard_plan(spec, tp), 0, device.product_type);
  const auto usable = static_cast<int64_t>(kWarnAt * static_cast<double>(device.total_bytes)) -
                      (device.total_bytes - device.free_bytes) - place.weight_bytes - kDeviceLibraryBytes;
  return std::max<int64_t>(0, usable / 2);
}

int64_t next_device_step(int64_t rows) {
  for (const int64_t step : kDeviceSteps) {
    if (step < rows) return step;
  }
  return 0;
}

TokenBudget choose_token_budget(std::optional<int64_t> asked, const model::ModelSpec& spec, int tp,
                                const std::vector<RankSituation>& ranks) {
  const auto at = [&](int64_t rows) {
    return Fill{fullest_host(spec, tp, ranks, rows, {}), fullest_device(spec, tp, ranks, rows, {})};
  };
  if (const Fill least = at(1); !least.fits()) {
    fail(ExitCode::kUnavailable, "not enough memory: the model with one row at a time needs {}. Remedies: {}",
         least.text(), least.remedies());
  }
  const bool has_devices = at(1).device.has_value();
  const std::span<const int64_t> steps = has_devices ? std::span<const int64_t>(kDeviceSteps) : kSteps;
  const double rows_of_few_seconds = kChunkFlops / flops_per_token(spec);
  TokenBudget chosen;
  std::string why = has_devices ? "more rows gain little, and memory allows it"
                                : "from 256 rows up the kernels run at their full rate, and memory allows it";
  for (const int64_t step : steps) {
    chosen.rows = step;
    const bool is_short = has_devices || step <= kEfficientRows || static_cast<double>(step) <= rows_of_few_seconds;
    if (!is_short) {
      why = "a chunk of more rows of this model takes longer than a few seconds";
    } else if (at(step).is_comfortable()) {
      break;
    } else {
      why = has_devices ? "more rows would fill a device above 85 %"
                        : "more rows would take above 85 % of the memory that is free";
    }
  }
  if (!asked) {
    chosen.why = why;
    return chosen;
  }
  if (const Fill fill = at(*asked); !fill.fits()) {
    int64_t low = 1, high = *asked;  // low fits, high does not
    while (high - low > 1) (at((low + high) / 2).fits() ? low : high) = (low + high) / 2;
    fail(ExitCode::kUsage, "--token-budget {} needs {}. The largest that fits is {}; auto takes {}", *asked,
         fill.text(), low, chosen.rows);
  }
  TokenBudget given{*asked, "asked for", std::nullopt};
  if (*asked < (has_devices ? kSlowDeviceRows : kSlowRows) && *asked < chosen.rows) {
    given.warning = has_devices
                        ? fmt::format("--token-budget {}: so few rows leave most of a device idle; auto would take {}",
                                      *asked, chosen.rows)
                        : fmt::format(
                              "--token-budget {}: the kernels are slow on so few rows (16 rows take about "
                              "twice as long); auto would take {}",
                              *asked, chosen.rows);
  }
  return given;
}

std::string memory_note(const model::ModelSpec& spec, int tp, const std::vector<RankSituation>& ranks,
                        int64_t token_budget, const Demand& demand) {
  if (ranks.empty()) return {};
  if (const auto device = fullest_device(spec, tp, ranks, token_budget, demand)) {
    return fmt::format("; predicted: {}. Remedies: {}; or --allow-split", percent_text(*device), kDeviceRemedies);
  }
  return fmt::format("; predicted: {}. Is less granted to this process (ulimit -v, a batch system)? Remedies: {}",
                     percent_text(fullest_host(spec, tp, ranks, token_budget, demand)), kRemedies);
}

std::optional<std::string> check_memory(const model::ModelSpec& spec, int tp, const std::vector<RankSituation>& ranks,
                                        int64_t token_budget, const Demand& demand) {
  const Fill fill{fullest_host(spec, tp, ranks, token_budget, demand),
                  fullest_device(spec, tp, ranks, token_budget, demand)};
  if (!fill.fits()) {
    fail(ExitCode::kUnavailable,
         "not enough memory: the run needs {} (longest sequence: {} tokens). Remedies: {}; or a smaller "
         "--token-budget",
         fill.text(), demand.positions, fill.remedies());
  }
  if (fill.is_comfortable()) return std::nullopt;
  if (is_comfortable(fill.host)) return fmt::format("device memory will be short: the run needs {}", fill.text());
  return fmt::format("memory will be short: the run needs {}, where {} are free", percent_text(fill.host),
                     bytes_text(fill.host.memory.available_bytes));
}

std::string batch_size_note(const std::string& text, int64_t token_budget) {
  return fmt::format(
      "--batch-size {} is not needed: {} distinct tokens are computed in one step, whatever the requests' "
      "lengths, and scores do not depend on it. To use less memory, say --token-budget with a smaller number",
      text, token_budget);
}

std::string bytes_text(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, kUnits[unit]);
}

}  // namespace evalmpi::eval

// `evalmpi plan`: what a run would do, without doing it.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <unordered_set>

#include "budget.h"
#include "computing.h"
#include "evalmpi/comm/communicator.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/eval/run.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/tensor_table.h"
#include "evalmpi/ops/kernels.h"
#include "file_work.h"
#include "task_work.h"
#include "time_spent.h"

namespace evalmpi::eval {
namespace {

std::string shard_lines(const Setup& setup, int tp) {
  const model::ModelSpec& spec = setup.spec;
  const model::ShardPlan plan = model::make_shard_plan(spec, tp);
  const std::vector<model::TensorRow> table = model::make_tensor_table(spec);
  std::string text =
      fmt::format("model: {} ({}), {} parameters, {} layers, {} query heads, {} KV heads, MLP {}, vocabulary {}\n",
                  setup.model_folder.string(), spec.architecture, model::count_parameters(table), spec.layers,
                  spec.heads, spec.kv_heads, spec.mlp, spec.vocab);
  text += "place  query heads  KV heads  MLP columns  vocabulary  parameters\n";
  for (int rank = 0; rank < tp; ++rank) {
    const model::RankShard& shard = plan.ranks[rank];
    text += fmt::format("{:>5}  {:>11}  {:>8}  {:>11}  {:>10}  {:>10}\n", rank, shard.query_heads.size(),
                        shard.kv_heads.size(), shard.mlp.size(), shard.vocab.size(),
                        model::count_parameters(table, spec, shard));
  }
  return text;
}

// A rank for each place, all of them on this machine, which its lanes share; devices go round.
std::vector<RankSituation> one_rank_per_place(const EvalOptions& options, const std::vector<device::Device>& devices,
                                              model::DType product_type) {
  const Computing computing(devices);
  const int places = options.dp.value_or(1) * options.tp;
  const bool has_devices = computing.is_on_devices();
  const int lanes = has_devices ? 1 : std::max(1, device::usable_cores() / places / options.threads_per_lane);
  const RankSituation rank{"this machine", device::memory(), device::resident_bytes(), {}, {}, {}};
  std::vector<RankSituation> ranks(static_cast<size_t>(places), rank);
  for (int place = 0; place < places; ++place) {
    ranks[place].tp_ranks = {place % options.tp};
    ranks[place].lanes = {lanes};
    std::vector<comm::LocalPlace> one(1);
    one.front().device = devices[static_cast<size_t>(place) % devices.size()];
    ranks[place].devices = computing.situations(one, product_type);
  }
  return ranks;
}

std::string device_lines(const Setup& setup, int tp, const std::vector<RankSituation>& ranks, int64_t token_budget,
                         const Demand& demand) {
  std::string text = fmt::format("\n{:<28} {:>10} {:>11} {:>11} {:>10} {:>10} {:>10} {:>6}\n", "device", "weights",
                                 "keys,values", "activations", "head", "libraries", "in use", "full");
  for (const DeviceMemory& device : device_memory(setup.spec, tp, ranks, token_budget, demand)) {
    text += fmt::format("{:<28} {:>10} {:>11} {:>11} {:>10} {:>10} {:>10} {:>4.0f} %\n", device.where,
                        bytes_text(device.weights), bytes_text(device.lanes.key_values),
                        bytes_text(device.lanes.activations), bytes_text(device.lanes.head),
                        bytes_text(device.libraries), bytes_text(device.others_bytes), 100 * device.fill());
  }
  return text;
}

std::string memory_lines(const Setup& setup, int tp, const std::vector<RankSituation>& ranks, int64_t token_budget,
                         const Demand& demand) {
  std::string text =
      fmt::format("\nmemory, with a rank for each place and {} lane{} each; longest sequence {} tokens\n",
                  ranks[0].lanes[0], ranks[0].lanes[0] > 1 ? "s" : "", demand.positions);
  text += fmt::format("{:>5}  {:>10} {:>10} {:>11} {:>11} {:>10} {:>10} {:>10} {:>10}\n", "rank", "program", "weights",
                      "keys,values", "activations", "head", "loading", "requests", "peak");
  for (size_t i = 0; i < ranks.size(); ++i) {
    const RankMemory memory = rank_memory(setup.spec, tp, ranks[i], i == 0, token_budget, demand);
    text += fmt::format("{:>5}  {:>10} {:>10} {:>11} {:>11} {:>10} {:>10} {:>10} {:>10}\n", i,
                        bytes_text(memory.program), bytes_text(memory.weights), bytes_text(memory.lanes.key_values),
                        bytes_text(memory.lanes.activations), bytes_text(memory.lanes.head), bytes_text(memory.loading),
                        bytes_text(memory.requests), bytes_text(memory.total()));
  }
  const HostMemory host = fullest_host(setup.spec, tp, ranks, token_budget, demand);
  text += fmt::format("in all {}: {:.0f} % of this machine's {} ({} are free)\n", bytes_text(host.predicted_bytes),
                      100.0 * static_cast<double>(host.predicted_bytes) / static_cast<double>(host.memory.total_bytes),
                      bytes_text(host.memory.total_bytes), bytes_text(device::memory().available_bytes));
  return text;
}

// "device: the CPU, float32 (auto: no CUDA device: ...)"
std::string device_line(const EvalOptions& options, const device::Device& device, model::DType product_type) {
  const std::string type = model::name_of(product_type);
  if (device.kind == device::Kind::kCuda) {
    return fmt::format("device: {}, {} multiprocessors, compute capability {}.{}, {}; products in {}\n", device.name,
                       device.multiprocessors, device.compute_capability / 10, device.compute_capability % 10,
                       bytes_text(device.memory_bytes), type);
  }
  const bool was_chosen = parse_device(options.device) == device::Choice::kCpu;
  return fmt::format("device: the CPU, in {}{}\n", type,
                     was_chosen ? "" : fmt::format(" (no GPU: {})", device::no_cuda_reason()));
}

// What the tasks' table adds up to.
struct Totals {
  int64_t requests = 0;
  int64_t naive_tokens = 0;
  int64_t distinct_tokens = 0;
  int64_t planned_tokens = 0;
  size_t chunks = 0;
  Demand demand;
  double data_seconds = 0;
  double prompts_seconds = 0;  // and their tokens
  double trie_seconds = 0;     // and chunks
};

template <class Documents, class Requests, class Naive, class Distinct, class Planned, class Chunks>
std::string task_line(const std::string& name, const Documents& documents, const Requests& requests, const Naive& naive,
                      const Distinct& distinct, const Planned& planned, const Chunks& chunks) {
  return fmt::format("{:<40} {:>9} {:>9} {:>12} {:>12} {:>12} {:>7}\n", name, documents, requests, naive, distinct,
                     planned, chunks);
}

std::string part_lines(comm::Communicator& self, Work& work, int64_t token_budget, Totals& totals) {
  std::string text = task_line("task", "documents", "requests", "naive tokens", "distinct", "planned", "chunks");
  for (size_t part = 0; part < work.parts(); ++part) {
    const auto start = std::chrono::steady_clock::now();
    work.load(part);
    const auto has_data = std::chrono::steady_clock::now();
    totals.data_seconds += seconds_since(start);
    const TaskRequests requests = work.encode(self, part, Hash128{}, device::usable_cores());
    const auto has_prompts = std::chrono::steady_clock::now();
    totals.prompts_seconds += seconds_since(has_data);
    const PlannedTask planned =
        plan_task(requests, work.generation(part), token_budget, [](const Hash128&) { return false; });
    totals.trie_seconds += seconds_since(has_prompts);
    text += task_line(work.name(part), work.documents(part), requests.size(), planned.naive_tokens,
                      planned.distinct_tokens, planned.plan.planned_tokens, planned.plan.chunks.size());
    totals.demand.add(requests, work.document_bytes(part), work.generation(part), planned);
    totals.requests += static_cast<int64_t>(requests.size());
    totals.naive_tokens += planned.naive_tokens;
    totals.distinct_tokens += planned.distinct_tokens;
    totals.planned_tokens += planned.plan.planned_tokens;
    totals.chunks += planned.plan.chunks.size();
  }
  return text + task_line("all", "", totals.requests, totals.naive_tokens, totals.distinct_tokens,
                          totals.planned_tokens, totals.chunks);
}

std::string plan_of_work(const EvalOptions& options, Work& work) {
  const auto start = std::chrono::steady_clock::now();
  comm::Communicator self = comm::Communicator::self();
  work.read(self);
  const Setup& setup = work.setup();
  const double setup_seconds = seconds_since(start);
  const int dp = options.dp.value_or(1);
  const std::vector<device::Device> devices = device::choose_devices(parse_device(options.device), {});
  const Computing computing(devices);
  const device::Device& device = computing.device();
  const Arithmetic arithmetic{product_type(options, setup.spec, device.kind), options.fast_kernels,
                              options.fast_reduce};
  ops::use_fast_kernels(options.fast_kernels);
  std::string text = fmt::format("mesh: {} place{} (dp {} x pp {} x tp {}), class \"{}\"\n", dp * options.tp,
                                 dp * options.tp > 1 ? "s" : "", dp, options.pp, options.tp,
                                 numerics_class(device, arithmetic, options.tp, options.pp));
  text += device_line(options, device, arithmetic.product_type);
  text += shard_lines(setup, options.tp);
  const std::vector<RankSituation> ranks = one_rank_per_place(options, devices, arithmetic.product_type);
  const int lanes = dp * ranks[0].lanes[0];
  const TokenBudget budget = choose_token_budget(setup.options.token_budget, setup.spec, options.tp, ranks);
  text += fmt::format("token budget: {} rows in one step ({}); {} lane{}\n", budget.rows, budget.why, lanes,
                      lanes > 1 ? "s" : "");
  if (computing.is_on_devices()) work.set_slot_room(room_on_devices(setup.spec, options.tp, ranks));
  if (budget.warning) text += "warning: " + *budget.warning + "\n";
  if (!options.batch_size.empty()) text += batch_size_note(options.batch_size, budget.rows) + "\n";
  Totals totals;
  text += "\n" + part_lines(self, work, budget.rows, totals);
  text += memory_lines(setup, options.tp, ranks, budget.rows, totals.demand);
  if (computing.is_on_devices()) text += device_lines(setup, options.tp, ranks, budget.rows, totals.demand);
  if (const auto warning = check_memory(setup.spec, options.tp, ranks, budget.rows, totals.demand))
    text += "warning: " + *warning + "\n";
  if (options.timings) {
    text += fmt::format(
        "\ntimings: model, tokenizer and task files {:.3f} s; data {:.3f} s; prompts and tokens {:.3f} s; trie and "
        "chunks {:.3f} s; {} core{}\n",
        setup_seconds, totals.data_seconds, totals.prompts_seconds, totals.trie_seconds, device::usable_cores(),
        device::usable_cores() > 1 ? "s" : "");
  }
  return text;
}

std::string plan_of_one(const EvalOptions& options) {
  TaskWork work(options);
  return plan_of_work(options, work);
}

}  // namespace

std::string plan(const FileOptions& options) {
  FileWork work(options);
  return plan_of_work(options.each, work);
}

std::string plan(const JobOptions& options) {
  const std::vector<Combination> all = combinations(options);
  if (all.size() == 1) return plan_of_one(all.front().options);
  std::string text = fmt::format("{} combinations, one after another:\n", all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    text += fmt::format("\ncombination {} of {}: {}\n", i + 1, all.size(), all[i].name) + plan_of_one(all[i].options);
  }
  return text;
}

}  // namespace evalmpi::eval

// `evalmpi plan`: what a run would do, without doing it.

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "evalmpi/comm/communicator.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/eval/run.h"
#include "evalmpi/model/memory.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/tensor_table.h"
#include "setup.h"
#include "workload.h"

namespace evalmpi::eval {
namespace {

std::string bytes_text(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string shard_lines(const Setup& setup, int tp) {
  const model::ModelSpec& spec = setup.spec;
  const model::ShardPlan plan = model::make_shard_plan(spec, tp);
  const std::vector<model::TensorRow> table = model::make_tensor_table(spec);
  std::string text = fmt::format("model: {} ({}), {} parameters, {} layers, {} query heads, {} KV heads, MLP {}, vocabulary {}\n",
                                 setup.model_folder.string(), spec.architecture, model::count_parameters(table), spec.layers,
                                 spec.heads, spec.kv_heads, spec.mlp, spec.vocab);
  text += "place  query heads  KV heads  MLP columns  vocabulary  parameters   weights    with one lane at work\n";
  for (int rank = 0; rank < tp; ++rank) {
    const model::RankShard& shard = plan.ranks[rank];
    const model::MemoryEstimate memory = model::estimate_memory(spec, plan, rank, spec.source_dtype);
    const int64_t at_work = memory.total_bytes(setup.options.token_budget, 1, spec.max_positions, setup.options.token_budget);
    text += fmt::format("{:>5}  {:>11}  {:>8}  {:>11}  {:>10}  {:>10}  {:>9}  {:>9}\n", rank, shard.query_heads.size(),
                        shard.kv_heads.size(), shard.mlp.size(), shard.vocab.size(),
                        model::count_parameters(table, spec, shard), bytes_text(memory.weight_bytes), bytes_text(at_work));
  }
  return text;
}

}  // namespace

std::string plan(const EvalOptions& options) {
  const Setup setup = make_setup(options);
  const int dp = options.dp.value_or(1);
  std::string text = fmt::format("mesh: {} place{} (dp {} x pp {} x tp {}), class \"{}\"\n", dp * options.tp,
                                 dp * options.tp > 1 ? "s" : "", dp, options.pp, options.tp, numerics_class(options.tp, options.pp));
  text += shard_lines(setup, options.tp);
  text += fmt::format("memory here: {} of {} available\n", bytes_text(device::memory().available_bytes), bytes_text(device::memory().total_bytes));
  text += fmt::format("token budget: {} rows in one step\n\n", setup.options.token_budget);

  comm::Communicator self = comm::Communicator::self();
  text += fmt::format("{:<40} {:>9} {:>9} {:>12} {:>12} {:>12} {:>7}\n", "task", "documents", "requests", "naive tokens", "distinct", "planned", "chunks");
  int64_t requests_in_all = 0, naive = 0, distinct = 0, planned_tokens = 0;
  size_t chunks = 0;
  for (const task::TaskConfig& config : setup.selection.tasks) {
    const LoadedTask loaded = load_task(setup, config);
    const TaskRequests requests = encode_task(self, loaded.task, *setup.encoder, loaded.generation, Hash128{}, device::usable_cores());
    const PlannedTask planned = plan_task(requests, loaded.generation, setup.options.token_budget, [](const Hash128&) { return false; });
    text += fmt::format("{:<40} {:>9} {:>9} {:>12} {:>12} {:>12} {:>7}\n", config.name, loaded.task.evaluated_rows().size(), requests.size(),
                        planned.naive_tokens, planned.distinct_tokens, planned.plan.planned_tokens, planned.plan.chunks.size());
    requests_in_all += static_cast<int64_t>(requests.size());
    naive += planned.naive_tokens;
    distinct += planned.distinct_tokens;
    planned_tokens += planned.plan.planned_tokens;
    chunks += planned.plan.chunks.size();
  }
  text += fmt::format("{:<40} {:>9} {:>9} {:>12} {:>12} {:>12} {:>7}\n", "all", "", requests_in_all, naive, distinct, planned_tokens, chunks);
  return text;
}

}  // namespace evalmpi::eval

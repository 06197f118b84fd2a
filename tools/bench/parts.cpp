// The parts of a run, each measured alone. tools/bench/bench parts and bench scale run it, one part per process where
// memory is measured.
//   --parts A,B     of tokenise, plan, plan-synthetic, load, head, attention, log; default all
//   --model DIR     tokenizer, shapes, weights
//   --tasks A,B --num-fewshot K --limit N --data-root DIR    of tokenise and plan
//   --requests N --tokens N    of plan-synthetic: so many requests of so many tokens
//   --prompts FILE  tokenise writes its prompts and their ids here, one JSON object a line
//   --folder DIR    for the file of log
//   --seconds S     for one measurement of a kernel

#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <sys/resource.h>
#include <time.h>

#include <cmath>
#include <fstream>

#include "arguments.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/engine/chunk.h"
#include "evalmpi/engine/plan.h"
#include "evalmpi/model/weights.h"
#include "evalmpi/ops/attention.h"
#include "evalmpi/ops/head.h"
#include "evalmpi/ops/linear.h"
#include "evalmpi/store/record_log.h"
#include "measure.h"
#include "workload.h"

namespace evalmpi::bench {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kTokenBudget = 1024;
constexpr int kRuns = 3;

double thread_cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Memory that the process holds now, and the most that it ever held.
int64_t resident_bytes() {
  int64_t pages = 0, resident_pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident_pages;
  return resident_pages * 4096;
}
int64_t peak_resident_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * int64_t{1024};
}

TaskSelection selection_of(const Arguments& arguments) {
  return {arguments.text("tasks", "mmlu"), static_cast<int>(arguments.number("num-fewshot", 5)),
          arguments.number("limit", 0), arguments.text("data-root", "")};
}

// Prompts as a task has them, each once, in order; a fresh tokenizer for each pass, since it remembers words.
Json measure_tokenise(const Arguments& arguments) {
  std::vector<std::shared_ptr<const std::string>> prompts;
  double build_seconds = 0, bytes = 0;
  for (const task::Task& task : load_tasks(selection_of(arguments))) {
    const double start = thread_cpu_seconds();
    for (const task::Instance& instance : task.build_all()) {
      if (!prompts.empty() && prompts.back() == instance.context) continue;
      prompts.push_back(instance.context);
      bytes += static_cast<double>(instance.context->size());
    }
    build_seconds += thread_cpu_seconds() - start;
  }
  double best = 0;
  size_t tokens = 0;
  for (int run = 0; run < kRuns; ++run) {
    const text::Tokenizer tokenizer = text::Tokenizer::load(arguments.text("model", ""));
    tokens = 0;
    const double start = thread_cpu_seconds();
    for (const auto& prompt : prompts) tokens += tokenizer.encode(*prompt, false).size();
    best = std::max(best, bytes / (thread_cpu_seconds() - start));
  }
  if (const std::string file = arguments.text("prompts", ""); !file.empty()) {
    const text::Tokenizer tokenizer = text::Tokenizer::load(arguments.text("model", ""));
    std::ofstream out(file);
    for (const auto& prompt : prompts)
      out << Json{{"text", *prompt}, {"ids", tokenizer.encode(*prompt, false)}}.dump() << "\n";
  }
  return {{"prompts", prompts.size()},
          {"bytes", bytes},
          {"tokens", tokens},
          {"bytes_per_second", best},
          {"build_bytes_per_second", bytes / build_seconds}};
}

// Planning `make()` requests: seconds, memory, and what making the chunks takes.
Json measure_plan(engine::ScoreTable requests) {
  const double token_bytes = 4.0 * static_cast<double>(requests.tokens->size());
  Json result = {{"requests", requests.rows.size()}, {"token_bytes", token_bytes}};
  const double start = now_seconds();
  const engine::Plan plan = engine::plan_scores(std::move(requests), kTokenBudget);
  const double planned = now_seconds();
  size_t payload_bytes = 0;
  for (const engine::PlannedChunk& chunk : plan.chunks) payload_bytes += chunk.payload().size();
  result["seconds"] = planned - start;
  result["chunk_seconds"] = now_seconds() - planned;
  result["chunks"] = plan.chunks.size();
  result["payload_bytes"] = payload_bytes;
  result["naive_tokens"] = plan.naive_tokens;
  result["distinct_tokens"] = plan.distinct_tokens;
  result["planned_tokens"] = plan.planned_tokens;
  return result;
}

Json measure_task_plan(const Arguments& arguments) {
  const fs::path folder = arguments.text("model", "");
  const double start = thread_cpu_seconds();
  const engine::ScoreTable requests = score_requests(load_tasks(selection_of(arguments)), text::Tokenizer::load(folder),
                                                     model::read_model_spec(folder).max_positions);
  const double made = thread_cpu_seconds() - start;
  Json best;
  for (int run = 0; run < kRuns; ++run) {
    Json once = measure_plan(requests);
    if (best.is_null() || once["seconds"] < best["seconds"]) best = std::move(once);
  }
  best["prompts_and_tokens_cpu_seconds"] = made;
  return best;
}

Json measure_synthetic_plan(const Arguments& arguments) {
  const int64_t requests = static_cast<int64_t>(arguments.number("requests", 1e6));
  const int64_t tokens = std::max<int64_t>(20, static_cast<int64_t>(arguments.number("tokens", 300)));
  FewShotShape shape;  // 25 questions with 4 answers below each header
  shape.documents = 25;
  shape.headers = std::max<int64_t>(1, requests / 100);
  shape.answer_tokens = 5;
  shape.question_tokens = tokens / 5;
  shape.header_tokens = tokens - shape.answer_tokens - shape.question_tokens;
  const int64_t before = resident_bytes();
  Json result = measure_plan(few_shot_requests(shape, 50304));
  result["peak_bytes"] = peak_resident_bytes() - before;
  return result;
}

Json measure_load(const Arguments& arguments) {
  const fs::path folder = arguments.text("model", "");
  const model::ModelSpec spec = model::read_model_spec(folder);
  uint64_t bytes = 0;
  int64_t in_memory = 0;
  const double load = best_seconds(0, [&] {
    const auto weights = model::load_weights(folder, spec, model::make_shard_plan(spec, 1), 0);
    bytes = weights->bytes_read;
    in_memory = weights->bytes();
  });
  const double digest = best_seconds(0, [&] { model::model_digest(folder); });
  return {{"bytes_read", bytes},
          {"bytes_in_memory", in_memory},
          {"seconds", load},
          {"bytes_per_second", static_cast<double>(bytes) / load},
          {"digest_bytes_per_second", static_cast<double>(bytes) / digest}};
}

Json measure_head(const model::ModelSpec& spec, double seconds) {
  const ops::PackedLinear weight = ops::PackedLinear::pack(at::randn({spec.vocab, spec.hidden}));
  Json rows_table = Json::array();
  for (const int rows : {1, 8, 40, 200, 1024}) {
    const at::Tensor hidden_RD = at::randn({rows, spec.hidden});
    std::vector<int32_t> row_of_target, token_of_target;
    for (int row = 0; row < rows; ++row) {
      row_of_target.push_back(row);
      token_of_target.push_back(static_cast<int32_t>(row % spec.vocab));
    }
    const double best =
        best_seconds(seconds, [&] { ops::head(hidden_RD, weight, {}, 0, row_of_target, token_of_target); });
    rows_table.push_back({{"rows", rows},
                          {"seconds", best},
                          {"flops_per_second", 2.0 * rows * static_cast<double>(spec.vocab * spec.hidden) / best}});
  }
  return rows_table;
}

// One layer's attention: `spans` spans of `length` rows that all continue a path at `start`.
Json measure_attention_of(const model::ModelSpec& spec, int start, int spans, int length, double seconds) {
  const int64_t N = spec.heads, G = spec.kv_heads, H = spec.head_dim;
  ops::KeyValueStore store(1, 1, G, H, H);
  std::vector<int32_t> kv_head_of_query;
  for (int64_t n = 0; n < N; ++n) kv_head_of_query.push_back(static_cast<int32_t>(n / spec.query_heads_per_kv_head()));
  const double scale = 1 / std::sqrt(static_cast<double>(H));
  store.reserve(start + length);
  const auto run = [&](int rows, const std::vector<ops::AttentionSpan>& list) {
    const at::Tensor q_TNH = at::randn({rows, N, H}), k_TGH = at::randn({rows, G, H}), v_TGH = at::randn({rows, G, H});
    const auto call = [&] { ops::attention(q_TNH, k_TGH, v_TGH, list, store, 0, kv_head_of_query, {.scale = scale}); };
    return best_seconds(seconds, call);
  };
  if (start > 0) run(start, {{0, 0, 0, start}});
  std::vector<ops::AttentionSpan> list;
  for (int span = 0; span < spans; ++span) list.push_back({0, start, span * length, length});
  const double best = run(spans * length, list);
  double positions = 0;
  for (int row = 0; row < length; ++row) positions += start + row + 1;
  return {{"start", start},
          {"spans", spans},
          {"length", length},
          {"seconds", best},
          {"flops_per_second", 4.0 * static_cast<double>(N * H) * positions * spans / best}};
}

Json measure_attention(const model::ModelSpec& spec, double seconds) {
  Json shapes = Json::array();
  for (const auto& [start, spans, length] :
       {std::tuple{700, 50, 20}, std::tuple{700, 1, 1}, std::tuple{0, 1, 1024}, std::tuple{1024, 1, 1024}}) {
    shapes.push_back(measure_attention_of(spec, start, spans, length, seconds));
  }
  return shapes;
}

// Records like those of full chunks of MMLU 5-shot: forty answers of one token. The share is of the time that the
// linears of such a chunk take at least.
Json measure_log(const Arguments& arguments, const model::ModelSpec& spec, double seconds) {
  engine::ChunkRecord record;
  for (uint64_t i = 0; i < 40; ++i) record.scores.push_back({Hash128{i, i}, {-1.5F}, {1}});
  const std::string bytes = engine::encode(record);
  const fs::path path = fs::path(arguments.text("folder", ".")) / "bench.log";
  fs::remove(path);
  double append = 0, unsynced = 0;
  {
    store::LogWriter log(path, Json::object());
    // Durability is waited for each time, so the mean counts.
    constexpr int kRecords = 100;
    const double start = now_seconds();
    for (int i = 0; i < kRecords; ++i) log.append(bytes);
    append = (now_seconds() - start) / kRecords;
    unsynced = best_seconds(0.02, [&] { log.append_unsynced(bytes); });
  }
  fs::remove(path);
  const ops::PackedLinear weight = ops::PackedLinear::pack(at::randn({spec.mlp, spec.hidden}));
  const at::Tensor x_TK = at::randn({kTokenBudget, spec.hidden});
  const double gemm = 2.0 * kTokenBudget * static_cast<double>(spec.mlp * spec.hidden) /
                      best_seconds(seconds, [&] { ops::linear(x_TK, weight, {}); });
  const double chunk_seconds = linear_flops_per_token(spec) * kTokenBudget / gemm;
  return {{"record_bytes", bytes.size()},
          {"append_seconds", append},
          {"append_unsynced_seconds", unsynced},
          {"chunk_seconds_at_least", chunk_seconds},
          {"share", append / chunk_seconds}};
}

Json measure(const Arguments& arguments) {
  const model::ModelSpec spec = model::read_model_spec(arguments.text("model", ""));
  const double seconds = arguments.number("seconds", 0.1);
  Json result = {{"machine", machine()}};
  if (arguments.wants("tokenise")) result["tokenise"] = measure_tokenise(arguments);
  if (arguments.wants("plan")) result["plan"] = measure_task_plan(arguments);
  if (arguments.wants("plan-synthetic")) result["plan-synthetic"] = measure_synthetic_plan(arguments);
  if (arguments.wants("load")) result["load"] = measure_load(arguments);
  const model::InferenceThread inference;
  if (arguments.wants("head")) result["head"] = measure_head(spec, seconds);
  if (arguments.wants("attention")) result["attention"] = measure_attention(spec, seconds);
  if (arguments.wants("log")) result["log"] = measure_log(arguments, spec, seconds);
  return result;
}

}  // namespace
}  // namespace evalmpi::bench

int main(int argc, char** argv) {
  using namespace evalmpi::bench;
  return print_json([&] {
    return measure(Arguments(argc, argv,
                             {"model", "parts", "tasks", "num-fewshot", "limit", "data-root", "requests", "tokens",
                              "prompts", "folder", "seconds"}));
  });
}

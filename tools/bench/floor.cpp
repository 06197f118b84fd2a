// What this machine can do, and how much of it the scorer and the decoder use. tools/bench/bench floor runs it.
//   --model DIR          the shapes (and for scorer and decoder the weights)
//   --parts A,B          of gemm, bandwidth, scorer, decoder; default all
//   --tasks A,B --num-fewshot K --limit N --data-root DIR
//                        what the scorer computes; default: random tokens in the shape of MMLU 5-shot
//   --documents N        of each of the three headers of that shape
//   --new-tokens N       of the decoder
//   --megabytes N        read by each thread for the bandwidth
//   --seconds S          for one measurement of a kernel

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <sys/mman.h>

#include <cstring>
#include <mutex>
#include <set>

#include "arguments.h"
#include "evalmpi/base/error.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/engine/lane.h"
#include "evalmpi/engine/plan.h"
#include "evalmpi/job/work_queue.h"
#include "evalmpi/model/weights.h"
#include "evalmpi/ops/linear.h"
#include "evalmpi/ops/threads.h"
#include "measure.h"
#include "workload.h"

namespace evalmpi::bench {
namespace {

constexpr int64_t kRows = 1024;         // of the default token budget
constexpr int64_t kTokenBudget = 1024;  // the same
constexpr int kRuns = 3;                // of the scorer and the decoder; the best counts

// [N, K] of the linears of a layer.
std::set<std::pair<int64_t, int64_t>> linear_shapes(const model::ModelSpec& spec) {
  const int64_t query = spec.heads * spec.head_dim, key = spec.kv_heads * spec.head_dim;
  return {
      {query, spec.hidden}, {key, spec.hidden}, {spec.hidden, query}, {spec.mlp, spec.hidden}, {spec.hidden, spec.mlp}};
}

Json measure_gemm(const model::ModelSpec& spec, int cores, double seconds) {
  Json shapes = Json::array();
  Json best = {{"one_thread", 0.0}, {"all_cores", 0.0}};
  for (const auto& [N, K] : linear_shapes(spec)) {
    const at::Tensor weight_NK = at::randn({N, K});
    const ops::PackedLinear packed = ops::PackedLinear::pack(weight_NK);
    std::vector<at::Tensor> x_TK;
    for (int i = 0; i < cores; ++i) x_TK.push_back(at::randn({kRows, K}));
    const double flops = 2.0 * kRows * static_cast<double>(N * K);
    const auto own = [&](int thread) { ops::linear(x_TK[thread], packed, {}); };
    const auto aten = [&](int thread) { at::linear(x_TK[thread], weight_NK); };
    Json shape = {{"out_features", N}, {"in_features", K}};
    shape["own_one_thread"] = flops * best_calls_per_second(1, seconds, own);
    shape["aten_one_thread"] = flops * best_calls_per_second(1, seconds, aten);
    shape["own_all_cores"] = flops * best_calls_per_second(cores, seconds, own);
    shape["aten_all_cores"] = flops * best_calls_per_second(cores, seconds, aten);
    for (const char* who : {"one_thread", "all_cores"}) {
      for (const char* whose : {"own_", "aten_"}) {
        best[who] = std::max(best[who].get<double>(), shape[std::string(whose) + who].get<double>());
      }
    }
    shapes.push_back(std::move(shape));
  }
  return {{"unit", "FLOP/s"}, {"rows", kRows}, {"best", best}, {"shapes", shapes}};
}

// Memory that each thread reads from end to end, in large pages where the system has them, so that no page walk counts.
class Megabytes {
 public:
  explicit Megabytes(size_t megabytes) : bytes_(megabytes << 20) {
    data_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED)
      fail(ExitCode::kUnavailable, "no {} MB of memory for the bandwidth; give --megabytes", megabytes);
    ::madvise(data_, bytes_, MADV_HUGEPAGE);
    std::memset(data_, 1, bytes_);
  }
  Megabytes(const Megabytes&) = delete;
  Megabytes& operator=(const Megabytes&) = delete;
  ~Megabytes() { ::munmap(data_, bytes_); }

  // The sum of all words, read as `streams` parts side by side (the hardware fetches ahead in each).
  template <int streams>
  uint64_t sum() const {
    typedef uint64_t Line __attribute__((vector_size(64)));
    const auto* lines = static_cast<const Line*>(data_);
    const size_t per_stream = bytes_ / sizeof(Line) / streams;
    Line sums[streams] = {};
    for (size_t i = 0; i < per_stream; ++i) {
      for (int s = 0; s < streams; ++s) sums[s] += lines[static_cast<size_t>(s) * per_stream + i];
    }
    Line all = sums[0];
    for (int s = 1; s < streams; ++s) all += sums[s];
    uint64_t total = 0;
    for (int i = 0; i < 8; ++i) total += all[i];
    return total;
  }
  double bytes() const { return static_cast<double>(bytes_); }

 private:
  size_t bytes_;
  void* data_;
};

Json measure_bandwidth(int cores, size_t megabytes, double seconds) {
  std::vector<std::unique_ptr<Megabytes>> memory;
  for (int i = 0; i < cores; ++i) memory.push_back(std::make_unique<Megabytes>(megabytes));
  std::vector<uint64_t> sums(static_cast<size_t>(cores));
  const auto best_of = [&](int threads) {
    const double one =
        best_calls_per_second(threads, seconds, [&](int thread) { sums[thread] += memory[thread]->sum<1>(); });
    const double four =
        best_calls_per_second(threads, seconds, [&](int thread) { sums[thread] += memory[thread]->sum<4>(); });
    const double eight =
        best_calls_per_second(threads, seconds, [&](int thread) { sums[thread] += memory[thread]->sum<8>(); });
    return std::max({one, four, eight}) * memory[0]->bytes();
  };
  Json result = {{"unit", "bytes/s"},
                 {"megabytes_per_thread", megabytes},
                 {"one_thread", best_of(1)},
                 {"all_cores", best_of(cores)}};
  for (const uint64_t sum : sums) EVALMPI_CHECK(sum != 0);
  return result;
}

engine::StopCheck never_stop(const engine::GenerationSettings&, const engine::GenerateRequest&) {
  return [](int32_t) { return false; };
}

// Runs the plan's chunks on `lanes` lanes as a run does: by affinity, then the costliest first.
Json score_once(const std::shared_ptr<const model::Transformer>& transformer, const engine::Plan& plan, int lanes) {
  job::WorkQueue queue;
  std::vector<job::WorkItem> items;
  for (const engine::PlannedChunk& chunk : plan.chunks) {
    items.push_back({{}, chunk.prefix, chunk.cost_tokens, chunk.trunk_tokens, chunk.payload});
  }
  queue.set_replicas(std::vector<int>(static_cast<size_t>(lanes), 0));
  queue.add(std::move(items));
  queue.close();
  std::atomic<int64_t> computed{0};
  std::vector<double> busy(static_cast<size_t>(lanes));
  std::exception_ptr failure;
  std::mutex mutex;
  const auto trunks = std::make_shared<engine::SharedTrunks>();
  std::vector<std::unique_ptr<engine::Lane>> of_thread;  // all live to the end: they take trunks from one another
  for (int i = 0; i < lanes; ++i) {
    of_thread.push_back(
        std::make_unique<engine::Lane>(transformer, comm::Communicator::self(), kTokenBudget, Hash128{}, trunks));
  }
  std::vector<std::thread> team;
  const double start = now_seconds();
  for (int i = 0; i < lanes; ++i) {
    team.emplace_back([&, i] {
      try {
        const model::InferenceThread inference;
        engine::Lane& lane = *of_thread[i];
        while (!queue.is_drained()) {
          const auto item = queue.take(i, lane.held_prefix());
          if (!item) {  // what is left is the others' for now
            queue.release(i);
            const ops::LentCores waiting(1);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            continue;
          }
          const double begin = now_seconds();
          computed += engine::decode_record(lane.run(item->payload, never_stop)).computed_tokens;
          queue.complete(item->id);
          busy[i] += now_seconds() - begin;
        }
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
        queue.stop();
      }
    });
  }
  for (std::thread& lane : team) lane.join();
  if (failure) std::rethrow_exception(failure);
  const double seconds = now_seconds() - start;
  double idle = 0;
  for (const double of_lane : busy) idle += seconds - of_lane;
  return {{"lanes", lanes},
          {"seconds", seconds},
          {"computed_tokens", computed.load()},
          {"idle_share", idle / (seconds * lanes)}};
}

Json measure_scorer(const model::ModelSpec& spec, const std::shared_ptr<const model::Transformer>& transformer,
                    const engine::ScoreTable& requests, int cores) {
  const Work work = least_work(requests);
  const engine::Plan plan = engine::plan_scores(requests, kTokenBudget);
  Json result = {{"requests", requests.rows.size()},
                 {"chunks", plan.chunks.size()},
                 {"naive_tokens", work.naive_tokens},
                 {"distinct_tokens", work.distinct_tokens},
                 {"target_rows", work.target_rows},
                 {"flops", flops(spec, work)},
                 {"linear_flops", linear_flops_per_token(spec) * static_cast<double>(work.distinct_tokens)},
                 {"head_flops", 2.0 * static_cast<double>(spec.hidden * spec.vocab * work.target_rows)},
                 {"lanes", Json::array()}};
  std::set<int> counts{1, cores};
  std::map<int, Json> best;
  for (int run = 0; run < kRuns; ++run) {  // alternating, so that a slow minute hits all
    for (const int lanes : counts) {
      Json once = score_once(transformer, plan, lanes);
      if (!best.contains(lanes) || once["seconds"] < best[lanes]["seconds"]) best[lanes] = std::move(once);
    }
  }
  for (auto& [lanes, once] : best) {
    once["flops_per_second"] = flops(spec, work) / once["seconds"].get<double>();
    result["lanes"].push_back(once);
  }
  return result;
}

// Bytes of weights that one new token reads: all linears and the head, in the dtype that they are kept in.
double weight_bytes_per_token(const model::Weights& weights) {
  double bytes = static_cast<double>(weights.head_VD.bytes());
  for (const model::LayerWeights& layer : weights.layers) {
    bytes += static_cast<double>(layer.mlp.bytes());
    for (const model::Linear* linear : {&layer.query, &layer.key, &layer.value, &layer.attention_out}) {
      bytes += static_cast<double>(linear->bytes());
    }
  }
  return bytes;
}

double decode_seconds(engine::Lane& lane, int new_tokens, int64_t vocabulary) {
  engine::GenerateRequest request{{0, 1}, {}, new_tokens};
  for (int i = 0; i < 16; ++i) request.prompt.push_back(static_cast<int32_t>(i % vocabulary));
  const engine::Plan plan = engine::plan_generations(std::span(&request, 1), {}, 1, kTokenBudget);
  const double start = now_seconds();
  for (const engine::PlannedChunk& chunk : plan.chunks) lane.run(chunk.payload(), never_stop);
  return now_seconds() - start;
}

Json measure_decoder(const std::shared_ptr<const model::Transformer>& transformer, int new_tokens, int cores) {
  const double bytes = weight_bytes_per_token(transformer->weights());
  const int64_t vocabulary = transformer->spec().vocab;
  Json result = {{"weight_bytes_per_token", bytes}, {"new_tokens", new_tokens}, {"threads", Json::array()}};
  const model::InferenceThread inference;
  for (const int threads : std::set<int>{1, cores}) {
    const ops::LentCores others(threads - 1);
    engine::Lane lane(transformer, comm::Communicator::self(), kTokenBudget, Hash128{});
    decode_seconds(lane, 2, vocabulary);
    double best = 0;
    for (int run = 0; run < kRuns; ++run) {
      // The prompt and the first token are in both.
      const double seconds = decode_seconds(lane, new_tokens + 1, vocabulary) - decode_seconds(lane, 1, vocabulary);
      best = std::max(best, new_tokens / seconds);
    }
    result["threads"].push_back(
        {{"threads", threads}, {"tokens_per_second", best}, {"bytes_per_second", best * bytes}});
  }
  return result;
}

Json measure(const Arguments& arguments) {
  const std::filesystem::path folder = arguments.text("model", "");
  const model::ModelSpec spec = model::read_model_spec(folder);
  const int cores = device::usable_cores();
  const double seconds = arguments.number("seconds", 0.1);
  Json result = {{"machine", machine()}};
  if (arguments.wants("gemm")) result["gemm"] = measure_gemm(spec, cores, seconds);
  if (arguments.wants("bandwidth")) {
    result["bandwidth"] =
        measure_bandwidth(cores, static_cast<size_t>(std::max(1.0, arguments.number("megabytes", 512))), seconds);
  }
  if (!arguments.wants("scorer") && !arguments.wants("decoder")) return result;
  const auto transformer =
      std::make_shared<const model::Transformer>(model::load_weights(folder, spec, model::make_shard_plan(spec, 1), 0));
  if (arguments.wants("scorer")) {
    const std::string tasks = arguments.text("tasks", "");
    FewShotShape shape;
    shape.documents = static_cast<int64_t>(arguments.number("documents", 50));
    shape.header_tokens = std::min(shape.header_tokens, spec.max_positions / 2);
    shape.question_tokens = std::min(shape.question_tokens, spec.max_positions / 4);
    const engine::ScoreTable requests =
        tasks.empty() ? few_shot_requests(shape, spec.vocab)
                      : score_requests(load_tasks({tasks, static_cast<int>(arguments.number("num-fewshot", 0)),
                                                   arguments.number("limit", 0), arguments.text("data-root", "")}),
                                       text::Tokenizer::load(folder), spec.max_positions);
    result["scorer"] = measure_scorer(spec, transformer, requests, cores);
  }
  if (arguments.wants("decoder")) {
    result["decoder"] =
        measure_decoder(transformer, static_cast<int>(std::max(1.0, arguments.number("new-tokens", 64))), cores);
  }
  return result;
}

}  // namespace
}  // namespace evalmpi::bench

int main(int argc, char** argv) {
  using namespace evalmpi::bench;
  return print_json([&] {
    return measure(Arguments(argc, argv,
                             {"model", "parts", "tasks", "num-fewshot", "limit", "data-root", "documents", "new-tokens",
                              "megabytes", "seconds"}));
  });
}

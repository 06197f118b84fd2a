// What a GPU can do and how much of it the scorer and the decoder use. tools/bench/bench gpu runs it.
//   --model DIR          a folder with the config.json of a Llama; its weights are random and made on the device
//   --device NAME        cuda, or cpu to see that all works
//   --dtype TYPE         of the weights: bfloat16, float16 or float32
//   --parts A,B          of gemm, bandwidth, scorer, decoder; default all
//   --token-budget N     rows of a step
//   --documents N        of each of the three headers of the scorer's requests, which have the shape of MMLU 5-shot
//   --slots N            sequences that are generated side by side
//   --prompt-tokens N --new-tokens N
//                        of each of them
//   --graphs N           1: record a step of generation once and replay it
//   --seconds S          for one measurement

#include <ATen/DeviceAccelerator.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <set>

#include "arguments.h"
#include "evalmpi/base/error.h"
#include "evalmpi/device/devices.h"
#include "evalmpi/engine/lane.h"
#include "evalmpi/engine/plan.h"
#include "measure.h"
#include "random_weights.h"
#include "workload.h"

namespace evalmpi::bench {
namespace {

constexpr int kRuns = 3;  // the best counts

struct Where {
  at::Device device = at::kCPU;
  at::ScalarType type = at::kFloat;

  at::TensorOptions options() const { return at::TensorOptions(device).dtype(type); }
  // Work on a device ends later than the call that asks for it.
  void wait() const {
    if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
  }
};

at::ScalarType type_of(const std::string& name) {
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16") return at::kHalf;
  if (name == "float32") return at::kFloat;
  fail(ExitCode::kUsage, "--dtype {}: expected bfloat16, float16 or float32", name);
}

// Operations per second of the library's matrix product at the model's shapes and a square one; the best is the
// roofline.
Json measure_gemm(const model::ModelSpec& spec, const Where& where, int64_t rows, double seconds) {
  const int64_t query = spec.heads * spec.head_dim, square = std::min<int64_t>(8192, 4 * spec.mlp);
  const std::set<std::vector<int64_t>> shapes = {{rows, query, spec.hidden},
                                                 {rows, spec.mlp, spec.hidden},
                                                 {rows, spec.hidden, spec.mlp},
                                                 {square, square, square}};
  Json result = {{"best", 0.0}, {"shapes", Json::array()}};
  for (const std::vector<int64_t>& shape : shapes) {
    const at::Tensor x = at::randn({shape[0], shape[2]}, where.options());
    const at::Tensor w = at::randn({shape[1], shape[2]}, where.options());
    constexpr int kCalls = 8;
    const double best = best_seconds(seconds, [&] {
      for (int i = 0; i < kCalls; ++i) at::mm(x, w.t());
      where.wait();
    });
    const double rate = kCalls * 2.0 * static_cast<double>(shape[0] * shape[1] * shape[2]) / best;
    result["shapes"].push_back({{"m", shape[0]}, {"n", shape[1]}, {"k", shape[2]}, {"flops_per_second", rate}});
    result["best"] = std::max(result["best"].get<double>(), rate);
  }
  return result;
}

// Bytes per second, read and written, of a copy within the device's memory.
double measure_bandwidth(const Where& where, int64_t bytes, double seconds) {
  const at::Tensor from = at::zeros({bytes}, where.options().dtype(at::kByte)), to = at::empty_like(from);
  const double best = best_seconds(seconds, [&] {
    to.copy_(from);
    where.wait();
  });
  return 2.0 * static_cast<double>(bytes) / best;
}

engine::StopCheck never_stop(const engine::GenerationSettings&, const engine::GenerateRequest&) {
  return [](int32_t) { return false; };
}

Json measure_scorer(const std::shared_ptr<const model::Transformer>& transformer, const FewShotShape& shape,
                    int64_t token_budget) {
  const model::ModelSpec& spec = transformer->spec();
  const engine::ScoreTable requests = few_shot_requests(shape, spec.vocab);
  const Work work = least_work(requests);
  const engine::Plan plan = engine::plan_scores(requests, token_budget);
  double best = 0;
  int64_t computed = 0;
  for (int run = 0; run < kRuns; ++run) {
    engine::Lane lane(transformer, comm::Communicator::self(), token_budget, Hash128{});
    computed = 0;
    const double start = now_seconds();
    for (const engine::PlannedChunk& chunk : plan.chunks) {
      computed += engine::decode_record(lane.run(chunk.payload(), never_stop)).computed_tokens;
    }
    const double seconds = now_seconds() - start;
    best = run == 0 ? seconds : std::min(best, seconds);
  }
  return {{"requests", requests.rows.size()},
          {"documents", shape.headers * shape.documents},
          {"chunks", plan.chunks.size()},
          {"naive_tokens", work.naive_tokens},
          {"distinct_tokens", work.distinct_tokens},
          {"computed_tokens", computed},
          {"flops", flops(spec, work)},
          {"seconds", best},
          {"flops_per_second", flops(spec, work) / best},
          {"distinct_tokens_per_second", static_cast<double>(work.distinct_tokens) / best}};
}

struct DecodeShape {
  int32_t slots = 64;
  int64_t prompt_tokens = 128;
  int32_t new_tokens = 128;
};

// Seconds for as many sequences as there are slots, each of so many new tokens.
double decode_seconds(engine::Lane& lane, const DecodeShape& shape, int32_t new_tokens, int64_t vocabulary) {
  std::vector<engine::GenerateRequest> requests;
  for (int32_t slot = 0; slot < shape.slots; ++slot) {
    engine::GenerateRequest request{{1, static_cast<uint64_t>(slot)}, {}, new_tokens};
    for (int64_t i = 0; i < shape.prompt_tokens; ++i) {
      request.prompt.push_back(static_cast<int32_t>((slot * 7919 + i * 31 + 1) % vocabulary));
    }
    requests.push_back(std::move(request));
  }
  const engine::Plan plan = engine::plan_generations(requests, {}, shape.slots, int64_t{1} << 20);
  const double start = now_seconds();
  for (const engine::PlannedChunk& chunk : plan.chunks) lane.run(chunk.payload(), never_stop);
  return now_seconds() - start;
}

// The least that a step must read: all weights but the embedding, and the keys and values of every sequence so far.
Json measure_decoder(const std::shared_ptr<const model::Transformer>& transformer, const DecodeShape& shape,
                     int64_t token_budget, bool replays) {
  const model::Weights& weights = transformer->weights();
  const model::ModelSpec& spec = transformer->spec();
  engine::Lane lane(transformer, comm::Communicator::self(), token_budget, Hash128{});
  lane.replay_steps(replays);
  decode_seconds(lane, shape, 3, spec.vocab);
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    // The prompts and the first token are in both.
    const double seconds =
        decode_seconds(lane, shape, shape.new_tokens + 1, spec.vocab) - decode_seconds(lane, shape, 1, spec.vocab);
    best = run == 0 ? seconds : std::min(best, seconds);
  }
  const auto weight_bytes = static_cast<double>(weights.bytes() - weights.embedding_VD.nbytes());
  const auto element = static_cast<double>(c10::elementSize(weights.product_type));
  const double position_bytes = 2.0 * static_cast<double>(spec.layers * spec.kv_heads * spec.head_dim) * element;
  const double positions = shape.slots * (static_cast<double>(shape.prompt_tokens) + shape.new_tokens / 2.0);
  const double step_bytes = weight_bytes + positions * position_bytes;
  const double steps_per_second = shape.new_tokens / best;
  return {{"slots", shape.slots},
          {"prompt_tokens", shape.prompt_tokens},
          {"new_tokens", shape.new_tokens},
          {"bytes_per_step", step_bytes},
          {"tokens_per_second", steps_per_second * shape.slots},
          {"bytes_per_second", steps_per_second * step_bytes}};
}

Json measure(const Arguments& arguments) {
  const std::string name = arguments.text("device", "cuda");
  const device::Device device = device::choose_devices(device::parse_choice(name), {}).front();
  device::bind(device);
  Where where;
  if (device.kind == device::Kind::kCuda) where.device = at::Device(at::kCUDA, static_cast<int8_t>(device.index));
  where.type = type_of(arguments.text("dtype", "bfloat16"));
  const model::ModelSpec spec = model::read_model_spec(arguments.text("model", ""));
  const double seconds = arguments.number("seconds", 1);
  const auto token_budget = static_cast<int64_t>(std::max(1.0, arguments.number("token-budget", 8192)));
  Json result = {{"machine", machine()}, {"device", device.name}, {"multiprocessors", device.multiprocessors}};
  const model::InferenceThread inference;
  if (arguments.wants("gemm")) result["gemm"] = measure_gemm(spec, where, token_budget, seconds);
  if (arguments.wants("bandwidth")) {
    const int64_t bytes = int64_t{1} << (where.device.is_cpu() ? 24 : 31);
    result["bandwidth"] = {{"bytes_per_second", measure_bandwidth(where, bytes, seconds)}};
  }
  if (!arguments.wants("scorer") && !arguments.wants("decoder")) return result;
  std::shared_ptr<const model::Transformer> transformer;
  {
    const c10::InferenceMode off(false);
    transformer = std::make_shared<const model::Transformer>(random_llama(spec, where.device, where.type));
  }
  if (arguments.wants("scorer")) {
    FewShotShape shape;
    shape.documents = static_cast<int64_t>(std::max(1.0, arguments.number("documents", 400)));
    shape.header_tokens = std::min(shape.header_tokens, spec.max_positions / 2);
    shape.question_tokens = std::min(shape.question_tokens, spec.max_positions / 4);
    result["scorer"] = measure_scorer(transformer, shape, token_budget);
  }
  if (arguments.wants("decoder")) {
    DecodeShape shape;
    shape.slots = static_cast<int32_t>(std::max(1.0, arguments.number("slots", 64)));
    shape.prompt_tokens = static_cast<int64_t>(std::max(1.0, arguments.number("prompt-tokens", 128)));
    shape.new_tokens = static_cast<int32_t>(std::max(1.0, arguments.number("new-tokens", 128)));
    result["decoder"] = measure_decoder(transformer, shape, token_budget, arguments.number("graphs", 1) > 0);
  }
  return result;
}

}  // namespace
}  // namespace evalmpi::bench

int main(int argc, char** argv) {
  using namespace evalmpi::bench;
  return print_json([&] {
    return measure(Arguments(argc, argv,
                             {"model", "device", "dtype", "parts", "token-budget", "documents", "slots",
                              "prompt-tokens", "new-tokens", "graphs", "seconds"}));
  });
}

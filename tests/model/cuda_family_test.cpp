// Every family on a CUDA device, through the transformer of all devices: float32 against what transformers computed,
// bfloat16 within what transformers' own bfloat16 differs by, rows against themselves in other company, lanes, places
// of a tensor-parallel group, adapters, and segments that are filled again.

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>

#include <thread>

#include "cuda_device.h"
#include "evalmpi/base/json.h"
#include "family.h"

namespace evalmpi::model {
namespace {

LoadOptions on_device(at::ScalarType type) {
  LoadOptions options;
  options.device = at::Device("cuda:0");
  options.product_type = type;
  return options;
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(families())) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<Outcome> run_on(const fs::path& folder, const Expected& expected, int places, at::ScalarType type) {
  const ModelSpec spec = read_model_spec(folder);
  const ShardPlan plan = make_shard_plan(spec, places, 1);
  std::vector<comm::Communicator> tp = comm::Communicator::threads(places);
  std::vector<Outcome> outcomes(static_cast<size_t>(places));
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < places; ++rank) {
      const auto transformer = std::make_shared<Transformer>(load_weights(folder, spec, plan, rank, on_device(type)));
      threads.emplace_back([&, rank, transformer] {
        const InferenceThread inference;
        outcomes[static_cast<size_t>(rank)] = run(*transformer, expected, tp[static_cast<size_t>(rank)]);
      });
    }
  }
  return outcomes;
}

class CudaFamily : public ::testing::TestWithParam<std::string> {
 protected:
  const fs::path folder_ = families() / GetParam();
  const Expected expected_{folder_};
  const ModelSpec spec_ = read_model_spec(folder_);
  const ShardPlan plan_ = make_shard_plan(spec_, 1);

  Transformer model(at::ScalarType type) const {
    return Transformer(load_weights(folder_, spec_, plan_, 0, on_device(type)));
  }
};

TEST_P(CudaFamily, EqualsTransformersOnAnyTensorParallelLayout) {
  EVALMPI_NEEDS_CUDA();
  for (const int places : {1, 2, 3}) {
    SCOPED_TRACE(places);
    for (const Outcome& outcome : run_on(folder_, expected_, places, at::kFloat)) expect_equal(outcome, expected_);
  }
}

TEST_P(CudaFamily, Bfloat16IsAsCloseAsTransformers) {
  EVALMPI_NEEDS_CUDA();
  const Json bounds = read_json_file(fs::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/families_bfloat16.json");
  if (bounds.at(GetParam()).is_null()) GTEST_SKIP() << "transformers does not compute it in bfloat16";
  const Outcome outcome = run_on(folder_, expected_, 1, at::kBFloat16).front();
  float largest = 0;
  ASSERT_EQ(outcome.logits.size(), expected_.logits.size());
  for (size_t i = 0; i < expected_.logits.size(); ++i) {
    const float error = std::abs(outcome.logits[i] - expected_.logits[i]);
    if (!(error <= largest)) largest = error;
  }
  // Which of two roundings is the larger is chance.
  EXPECT_LE(largest, 1.5f * bounds.at(GetParam()).get<float>());
}

// Logits of all rows, the sequence cut at `ends`.
std::vector<float> logits_in_parts(const Transformer& model, const Ids& ids, const std::vector<size_t>& ends) {
  const InferenceThread inference;
  comm::Communicator alone = comm::Communicator::self();
  ops::KeyValueStore store = model.make_key_value_store(1);
  std::vector<float> logits;
  size_t begin = 0;
  for (const size_t end : ends) {
    const Ids part(ids.begin(), ids.begin() + static_cast<int64_t>(end));
    Ids rows(end - begin);
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
    const at::Tensor part_RV = model.logits(run_part(model, part, begin, store, alone), rows, alone);
    logits.insert(logits.end(), part_RV.const_data_ptr<float>(), part_RV.const_data_ptr<float>() + part_RV.numel());
    begin = end;
  }
  return logits;
}

TEST_P(CudaFamily, BitsDoNotDependOnTheCutOrOnLanes) {
  EVALMPI_NEEDS_CUDA();
  const size_t length = expected_.ids.size();
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const Transformer transformer = model(type);
    const std::vector<float> whole = logits_in_parts(transformer, expected_.ids, {length});
    EXPECT_EQ(logits_in_parts(transformer, expected_.ids, {1, 37, 38, 150, length}), whole);
    std::vector<float> of_lane[2];
    {
      std::jthread one([&] { of_lane[0] = logits_in_parts(transformer, expected_.ids, {50, length}); });
      std::jthread other([&] { of_lane[1] = logits_in_parts(transformer, expected_.ids, {9, 100, length}); });
    }
    EXPECT_EQ(of_lane[0], whole);
    EXPECT_EQ(of_lane[1], whole);
  }
}

// Steps of two sequences by one prepared segment, filled again each time, against segments of their own.
TEST_P(CudaFamily, SegmentsCanBeFilledAgain) {
  EVALMPI_NEEDS_CUDA();
  const Transformer transformer = model(at::kBFloat16);
  const InferenceThread inference;
  comm::Communicator alone = comm::Communicator::self();
  const int64_t layers = spec_.layers;
  const auto step = [&](int32_t position) {
    const int32_t id = expected_.ids.at(static_cast<size_t>(position));
    return Segment{{id, id}, {position, position}, {{0, position, 0, 1}, {1, position, 1, 1}}, true};
  };
  ops::KeyValueStore one = transformer.make_key_value_store(2), other = transformer.make_key_value_store(2);
  const Ids rows = {0, 1};
  PreparedSegment prepared = transformer.prepare(step(0), one, rows, 20);
  for (int32_t position = 0; position < 20; ++position) {
    if (position > 0) transformer.refill(prepared, step(position), one);
    const at::Tensor hidden_TD =
        transformer.run_layers(transformer.embed(prepared, alone), prepared, 0, layers, one, alone);
    const Segment own = step(position);
    const at::Tensor want_TD = transformer.run_layers(transformer.embed(own, alone), own, 0, layers, other, alone);
    ASSERT_TRUE(hidden_TD.equal(want_TD)) << position;
    EXPECT_EQ(transformer.finish_argmax(transformer.begin_argmax(hidden_TD, prepared), alone),
              transformer.head(want_TD, rows, {}, {}, alone).argmax_R);
    EXPECT_TRUE(transformer.finish_logits(transformer.begin_logits(hidden_TD, prepared), alone)
                    .equal(transformer.logits(want_TD, rows, alone)));
  }
}

// The same steps by a CUDA graph, the last ones with fewer rows.
TEST_P(CudaFamily, StepsOfDecodingCanBeCaptured) {
  EVALMPI_NEEDS_CUDA();
  if (spec_.experts.count > 0) GTEST_SKIP() << "its experts wait for the device";
  const Transformer transformer = model(at::kBFloat16);
  const InferenceThread inference;
  const c10::cuda::CUDAStreamGuard on_own_stream(c10::cuda::getStreamFromPool());
  comm::Communicator alone = comm::Communicator::self();
  const auto step = [&](int32_t position, int32_t paths) {
    Segment segment;
    for (int32_t path = 0; path < paths; ++path) {
      segment.ids.push_back(expected_.ids.at(static_cast<size_t>(position + path)));
      segment.positions.push_back(position);
      segment.spans.push_back({path, position, path, 1});
    }
    segment.is_decoding = true;
    return segment;
  };
  const Ids all_rows = {0, 1, 2};
  ops::KeyValueStore one = transformer.make_key_value_store(3), other = transformer.make_key_value_store(3);
  PreparedSegment prepared = transformer.prepare(step(0, 3), one, all_rows, 70);
  const auto compute = [&](const PreparedSegment& segment, ops::KeyValueStore& store) {
    const at::Tensor hidden_TD =
        transformer.run_layers(transformer.embed(segment, alone), segment, 0, spec_.layers, store, alone);
    return transformer.begin_argmax(hidden_TD, segment);
  };
  compute(prepared, one);  // products choose their kernels
  compute(transformer.prepare(step(0, 3), other, all_rows), other);
  at::cuda::CUDAGraph graph;
  graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
  const ops::BegunHead begun = compute(prepared, one);
  graph.capture_end();
  for (int32_t position = 1; position < 70; ++position) {
    const int32_t paths = position < 40 ? 3 : 1;
    const Segment next = step(position, paths);
    ASSERT_TRUE(prepared.plan.fits(one));
    transformer.refill(prepared, next, one);
    graph.replay();
    const std::vector<int32_t> found = transformer.finish_argmax(begun, alone, paths);
    const PreparedSegment own = transformer.prepare(next, other, Ids(all_rows.begin(), all_rows.begin() + paths));
    EXPECT_EQ(found, transformer.finish_argmax(compute(own, other), alone, paths)) << position;
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaFamily, ::testing::ValuesIn(family_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace evalmpi::model

// Every family against what transformers computes (tools/fixtures/make_family_fixtures.py): all logits of a prompt that is
// longer than its windows, and a greedy continuation, on several tensor-parallel layouts.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

#include "evalmpi/base/file.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/transformer.h"
#include "evalmpi/model/weights.h"

namespace evalmpi::model {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

fs::path families() { return fs::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/families"; }

template <typename T>
std::vector<T> values_of(const std::map<std::string, TensorEntry>& tensors, const char* name) {
  const std::string_view bytes = tensors.at(name).bytes;
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

struct Expected {
  explicit Expected(const fs::path& folder) {
    const std::string bytes = read_file(folder / "expected.safetensors", uint64_t{1} << 24);
    const auto tensors = parse_safetensors(bytes, folder.string());
    ids = values_of<int32_t>(tensors, "ids");
    continuation = values_of<int32_t>(tensors, "continuation");
    logits = values_of<float>(tensors, "logits");
  }
  Ids ids, continuation;
  std::vector<float> logits;
};

at::Tensor run_part(const Transformer& model, const Ids& ids, size_t begin, ops::KeyValueStore& store,
                    comm::Communicator& tp) {
  Segment segment;
  segment.ids.assign(ids.begin() + static_cast<int64_t>(begin), ids.end());
  for (size_t i = begin; i < ids.size(); ++i) segment.positions.push_back(static_cast<int32_t>(i));
  segment.spans.push_back({0, static_cast<int32_t>(begin), 0, static_cast<int32_t>(ids.size() - begin)});
  return model.run_layers(model.embed(segment, tp), segment, 0, model.spec().layers, store, tp);
}

struct Outcome {
  std::vector<float> logits;
  Ids continuation;
};

Outcome run(const Transformer& model, const Expected& expected, comm::Communicator& tp) {
  ops::KeyValueStore store = model.make_key_value_store(1);
  Ids ids = expected.ids, rows(expected.ids.size());
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
  at::Tensor logits_RV = model.logits(run_part(model, ids, 0, store, tp), rows, tp);
  Outcome outcome;
  outcome.logits.assign(logits_RV.const_data_ptr<float>(), logits_RV.const_data_ptr<float>() + logits_RV.numel());
  for (size_t i = 0; i < expected.continuation.size(); ++i) {
    const float* last = logits_RV.const_data_ptr<float>() + logits_RV.numel() - model.spec().vocab;
    ids.push_back(static_cast<int32_t>(std::max_element(last, last + model.spec().vocab) - last));
    outcome.continuation.push_back(ids.back());
    logits_RV = model.logits(run_part(model, ids, ids.size() - 1, store, tp), Ids{0}, tp);
  }
  return outcome;
}

Outcome run_on(const fs::path& folder, const Expected& expected, int places) {
  const ModelSpec spec = read_model_spec(folder);
  const ShardPlan plan = make_shard_plan(spec, places, 1);
  std::vector<comm::Communicator> tp = comm::Communicator::threads(places);
  std::vector<Outcome> outcomes(static_cast<size_t>(places));
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < places; ++rank) {
      const auto transformer = std::make_shared<Transformer>(load_weights(folder, spec, plan, rank));
      threads.emplace_back([&, rank, transformer] {
        const InferenceThread inference;
        outcomes[static_cast<size_t>(rank)] = run(*transformer, expected, tp[static_cast<size_t>(rank)]);
      });
    }
  }
  return outcomes[0];
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(families())) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

class Family : public ::testing::TestWithParam<std::string> {};

TEST_P(Family, EqualsTransformersOnAnyTensorParallelLayout) {
  const fs::path folder = families() / GetParam();
  const Expected expected(folder);
  float scale = 0;
  for (const float logit : expected.logits) scale = std::max(scale, std::abs(logit));
  for (const int places : {1, 2, 3}) {
    const Outcome outcome = run_on(folder, expected, places);
    ASSERT_EQ(outcome.logits.size(), expected.logits.size());
    float largest = 0;
    for (size_t i = 0; i < expected.logits.size(); ++i) {
      const float error = std::abs(outcome.logits[i] - expected.logits[i]);
      if (!(error <= largest)) largest = error;
    }
    EXPECT_LE(largest, std::max(1e-4f, 1e-5f * scale)) << "tp " << places;
    EXPECT_EQ(outcome.continuation, expected.continuation) << "tp " << places;
  }
}

// A row's bits depend on what came before it, not on how the sequence was cut.
TEST_P(Family, BitsDoNotDependOnTheCut) {
  const fs::path folder = families() / GetParam();
  const Expected expected(folder);
  const ModelSpec spec = read_model_spec(folder);
  const Transformer model(load_weights(folder, spec, make_shard_plan(spec, 1), 0));
  comm::Communicator alone = comm::Communicator::self();
  const InferenceThread inference;
  const auto logits_of = [&](const std::vector<size_t>& ends) {
    ops::KeyValueStore store = model.make_key_value_store(1);
    std::vector<float> logits;
    size_t begin = 0;
    for (const size_t end : ends) {
      const Ids ids(expected.ids.begin(), expected.ids.begin() + static_cast<int64_t>(end));
      Ids rows(end - begin);
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
      const at::Tensor part_RV = model.logits(run_part(model, ids, begin, store, alone), rows, alone);
      logits.insert(logits.end(), part_RV.const_data_ptr<float>(), part_RV.const_data_ptr<float>() + part_RV.numel());
      begin = end;
    }
    return logits;
  };
  EXPECT_EQ(logits_of({1, 37, 38, 150, 200}), logits_of({200}));
}

INSTANTIATE_TEST_SUITE_P(All, Family, ::testing::ValuesIn(family_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace evalmpi::model

// Every family against what transformers computes: all logits of a prompt that is longer than its windows, and a greedy
// continuation, on several tensor-parallel layouts.

#include "family.h"

#include <thread>

namespace evalmpi::model {
namespace {

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
  for (const int places : {1, 2, 3}) {
    SCOPED_TRACE(places);
    expect_equal(run_on(folder, expected, places), expected);
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
  EXPECT_EQ(logits_of({1, 37, 38, 150, expected.ids.size()}), logits_of({expected.ids.size()}));
}

INSTANTIATE_TEST_SUITE_P(All, Family, ::testing::ValuesIn(family_names()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace evalmpi::model

// Adapters on a CUDA device against what PEFT computed.

#include <memory>
#include <thread>

#include "adapter_fixture.h"
#include "cuda_device.h"
#include "evalmpi/model/adapter.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/weights.h"

namespace evalmpi::model {
namespace {

class CudaAdapter : public ::testing::TestWithParam<std::string> {};

TEST_P(CudaAdapter, EqualsPeft) {
  EVALMPI_NEEDS_CUDA();
  const fs::path folder = fixtures() / "adapters" / GetParam(), base = base_of(folder);
  const Expected expected(folder);
  const ModelSpec spec = with_adapter(read_model_spec(base), folder);
  for (const int places : {1, 3}) {
    const ShardPlan plan = make_shard_plan(spec, places, 1);
    std::vector<comm::Communicator> tp = comm::Communicator::threads(places);
    std::vector<std::vector<float>> logits(static_cast<size_t>(places));
    {
      std::vector<std::jthread> threads;
      for (int rank = 0; rank < places; ++rank) {
        LoadOptions options;
        options.device = at::Device("cuda:0");
        const auto weights = load_weights(base, spec, plan, rank, options);
        threads.emplace_back([&, rank, weights] {
          const InferenceThread inference;
          logits[static_cast<size_t>(rank)] = logits_of(Transformer(weights), expected, tp[static_cast<size_t>(rank)]);
        });
      }
    }
    EXPECT_LE(largest_error(logits[0], expected.logits), limit_of(expected)) << "tp " << places;
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaAdapter, ::testing::ValuesIn(adapter_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace evalmpi::model

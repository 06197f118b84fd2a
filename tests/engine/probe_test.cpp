#include "evalmpi/engine/probe.h"

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <vector>

#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/weights.h"

namespace evalmpi::engine {
namespace {

int64_t half(int64_t rows) { return rows > 64 ? rows / 2 : 0; }

TEST(LargestStep, is_the_first_for_which_there_is_memory) {
  for (const int64_t fitting : {10'000, 4096, 700, 64, 63}) {
    std::vector<int64_t> tried;
    const int64_t found = largest_step(8192, half, [&](int64_t rows) {
      tried.push_back(rows);
      if (rows > fitting) throw c10::OutOfMemoryError({}, "no memory");
    });
    EXPECT_EQ(found, fitting >= 8192 ? 8192 : fitting == 4096 ? 4096 : fitting == 700 ? 512 : fitting == 64 ? 64 : 0);
    EXPECT_EQ(tried.back(), found == 0 ? 64 : found);
  }
}

TEST(LargestStep, other_failures_pass) {
  EXPECT_THROW(largest_step(64, half, [](int64_t) { throw std::runtime_error("x"); }), std::runtime_error);
}

// Every place tries its own shard alone.
TEST(LargestShape, runs_on_every_place_of_every_kind_of_model) {
  const model::InferenceThread inference;
  for (const char* name : {"llama", "llama_odd", "neox", "neox_serial"}) {
    const std::filesystem::path folder = std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/model" / name;
    const model::ModelSpec spec = model::read_model_spec(folder);
    for (const int tp : {1, 3}) {
      const model::ShardPlan plan = model::make_shard_plan(spec, tp);
      for (int rank = 0; rank < tp; ++rank) {
        std::shared_ptr<const model::Weights> weights;
        {
          const c10::InferenceMode off(false);
          weights = model::load_weights(folder, spec, plan, rank);
        }
        const model::Transformer transformer(weights);
        for (const int64_t rows : {1, 64, 300}) {
          EXPECT_NO_THROW(run_largest_shape(transformer, rows, {.paths = 3, .positions = 50})) << name << tp << rank;
        }
        EXPECT_NO_THROW(run_largest_shape(transformer, 8, {.paths = 1, .positions = 1 << 30}));
      }
    }
  }
}

// A place alone has a part of every sum, which may overflow where the whole does not.
TEST(LargestShape, what_comes_out_is_not_looked_at) {
  const std::filesystem::path folder = std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/model/llama";
  const model::ModelSpec spec = model::read_model_spec(folder);
  const auto weights =
      std::make_shared<model::Weights>(*model::load_weights(folder, spec, model::make_shard_plan(spec, 1), 0));
  weights->final_norm.weight_D = weights->final_norm.weight_D.mul(std::numeric_limits<float>::infinity());
  const model::InferenceThread inference;
  EXPECT_NO_THROW(run_largest_shape(model::Transformer(weights), 64, {.paths = 1, .positions = 50}));
}

}  // namespace
}  // namespace evalmpi::engine

#include "budget.h"

#include <gtest/gtest.h>

#include <functional>

#include "evalmpi/base/error.h"

namespace evalmpi::eval {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// About 76 million parameters in the layers and 39 million in each of embedding and head.
model::ModelSpec small_llama() {
  model::ModelSpec spec;
  spec.family = "llama";
  spec.hidden = 768;
  spec.layers = 12;
  spec.heads = 12;
  spec.kv_heads = 4;
  spec.head_dim = 64;
  spec.mlp = 2048;
  spec.vocab = 50304;
  spec.max_positions = 2048;
  spec.rotaries.resize(1);
  spec.rotaries[0].dims = 64;
  spec.layer.resize(12);
  return spec;
}

std::vector<RankSituation> one_rank(int64_t total_mib, int64_t available_mib, int lanes = 2) {
  return {{"host", {total_mib * kMiB, available_mib * kMiB}, 150 * kMiB, {0}, {lanes}}};
}

std::string message_of(ExitCode code, const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(TokenBudget, auto_is_a_step_of_the_ladder_that_memory_allows) {
  const model::ModelSpec spec = small_llama();
  EXPECT_EQ(choose_token_budget(std::nullopt, spec, 1, one_rank(16384, 16384)).rows, 1024);
  int64_t before = 1024;
  for (int64_t available = 1100; available > 700; available -= 10) {
    const TokenBudget budget = choose_token_budget(std::nullopt, spec, 1, one_rank(16384, available));
    EXPECT_LE(budget.rows, before);
    EXPECT_TRUE(budget.rows == 1024 || budget.rows == 512 || budget.rows == 256 || budget.rows == 128 ||
                budget.rows == 64);
    before = budget.rows;
  }
  EXPECT_EQ(before, 64);
}

TEST(TokenBudget, auto_keeps_chunks_of_large_models_short) {
  model::ModelSpec spec = small_llama();
  spec.layers = 120;
  EXPECT_EQ(choose_token_budget(std::nullopt, spec, 1, one_rank(65536, 65536)).rows, 256);
}

TEST(TokenBudget, too_small_works_with_a_warning_that_names_the_better_one) {
  const TokenBudget budget = choose_token_budget(16, small_llama(), 1, one_rank(16384, 16384));
  EXPECT_EQ(budget.rows, 16);
  ASSERT_TRUE(budget.warning.has_value());
  EXPECT_NE(budget.warning->find("auto would take 1024"), std::string::npos) << *budget.warning;
  EXPECT_FALSE(choose_token_budget(512, small_llama(), 1, one_rank(16384, 16384)).warning.has_value());
}

TEST(TokenBudget, too_large_is_refused_with_the_largest_that_fits) {
  const model::ModelSpec spec = small_llama();
  const std::vector<RankSituation> ranks = one_rank(2048, 2048);
  const std::string message = message_of(ExitCode::kUsage, [&] { choose_token_budget(1 << 20, spec, 1, ranks); });
  EXPECT_NE(message.find("of 2.0 GiB on host"), std::string::npos) << message;
  const std::string words = "largest that fits is ";
  ASSERT_NE(message.find(words), std::string::npos) << message;
  const int64_t largest = std::stoll(message.substr(message.find(words) + words.size()));
  EXPECT_EQ(choose_token_budget(largest, spec, 1, ranks).rows, largest);
  message_of(ExitCode::kUsage, [&] { choose_token_budget(largest + 1, spec, 1, ranks); });
}

TEST(TokenBudget, without_room_for_the_model_nothing_starts) {
  for (const std::optional<int64_t> asked : {std::optional<int64_t>(), std::optional<int64_t>(64)}) {
    const std::string message =
        message_of(ExitCode::kUnavailable, [&] { choose_token_budget(asked, small_llama(), 1, one_rank(700, 600)); });
    EXPECT_NE(message.find("--tp"), std::string::npos) << message;
    EXPECT_NE(message.find("700.0 MiB"), std::string::npos) << message;
  }
}

TEST(Memory, of_ranks_on_one_host_adds_up_and_other_hosts_do_not) {
  const model::ModelSpec spec = small_llama();
  std::vector<RankSituation> ranks = one_rank(16384, 16384);
  const int64_t one = fullest_host(spec, 1, ranks, 1024, {}).predicted_bytes;
  ranks.push_back(ranks[0]);
  EXPECT_EQ(fullest_host(spec, 1, ranks, 1024, {}).predicted_bytes, 2 * one);
  ranks[1].host = "other";
  ranks[1].memory.total_bytes /= 2;
  const HostMemory fullest = fullest_host(spec, 1, ranks, 1024, {});
  EXPECT_EQ(fullest.predicted_bytes, one);
  EXPECT_EQ(fullest.host, "other");
}

TEST(Memory, of_a_rank_is_its_parts) {
  const model::ModelSpec spec = small_llama();
  Demand demand;
  demand.request_bytes = 5;
  demand.transient_bytes = 7;
  demand.positions = 1000;
  demand.largest_chunk = 900;
  demand.has_scores = true;
  const RankSituation rank = one_rank(16384, 16384)[0];
  const RankMemory memory = rank_memory(spec, 1, rank, true, 1024, demand);
  const model::PlaceMemory place =
      model::place_memory(spec, model::make_shard_plan(spec, 1), 0, model::DType::kFloat32);
  EXPECT_EQ(memory.weights, place.weight_bytes);
  EXPECT_EQ(memory.requests, 12);
  EXPECT_EQ(memory.lanes.activations, 2 * 900 * place.activation_bytes_per_row * 5 / 4);
  EXPECT_EQ(memory.lanes.key_values, 2 * 1008 * place.key_value_bytes_per_position);
  EXPECT_EQ(rank_memory(spec, 1, rank, false, 1024, demand).requests, 0);
  // Loading: one tensor twice, before the lanes work.
  EXPECT_EQ(memory.total(),
            memory.program + memory.weights + memory.requests + std::max(memory.loading, memory.lanes.total()));
}

TEST(Memory, warns_before_it_is_full_and_refuses_what_cannot_be) {
  const model::ModelSpec spec = small_llama();
  Demand demand;
  demand.has_scores = true;
  EXPECT_FALSE(check_memory(spec, 1, one_rank(16384, 16384), 1024, demand).has_value());
  EXPECT_TRUE(check_memory(spec, 1, one_rank(16384, 700), 1024, demand).has_value());
  demand.positions = 1 << 20;
  const std::string message =
      message_of(ExitCode::kUnavailable, [&] { check_memory(spec, 1, one_rank(16384, 16384), 1024, demand); });
  EXPECT_NE(message.find("1048576 tokens"), std::string::npos) << message;
}

std::vector<RankSituation> one_device(int64_t total_mib, int64_t free_mib) {
  std::vector<RankSituation> ranks = one_rank(65536, 65536, 1);
  ranks[0].devices = {{"GPU-1", "H200", total_mib * kMiB, free_mib * kMiB, model::DType::kBFloat16}};
  return ranks;
}

TEST(DeviceBudget, auto_is_a_step_of_a_longer_ladder) {
  const model::ModelSpec spec = small_llama();
  EXPECT_EQ(choose_token_budget(std::nullopt, spec, 1, one_device(81920, 81000)).rows, 8192);
  int64_t before = 8192, steps = 0;
  for (int64_t free = 4000; free > 1100; free -= 10) {
    const TokenBudget budget = choose_token_budget(std::nullopt, spec, 1, one_device(4000, free));
    EXPECT_LE(budget.rows, before);
    EXPECT_TRUE(budget.rows == before || budget.rows == next_device_step(before));
    steps += budget.rows < before ? 1 : 0;
    before = budget.rows;
    const auto device = fullest_device(spec, 1, one_device(4000, free), budget.rows, {});
    if (budget.rows > 64) {
      EXPECT_LE(device->fill(), 0.85);
    }
    if (device->fill() > 0.89) break;
  }
  EXPECT_GE(steps, 3);
  EXPECT_EQ(next_device_step(64), 0);
}

TEST(DeviceBudget, other_programs_memory_counts) {
  const model::ModelSpec spec = small_llama();
  const std::string message =
      message_of(ExitCode::kUnavailable, [&] { choose_token_budget(std::nullopt, spec, 1, one_device(81920, 900)); });
  EXPECT_NE(message.find("of 80.0 GiB (79.1 GiB are in use) on H200 on host"), std::string::npos) << message;
  EXPECT_NE(message.find("nvidia-smi"), std::string::npos) << message;
}

TEST(DeviceBudget, is_full_at_ninety_percent_and_warns_at_eighty_five) {
  const model::ModelSpec spec = small_llama();
  Demand demand;
  demand.has_scores = true;
  demand.positions = 2048;
  const auto at_fill = [&](double fill) {
    const int64_t needed = fullest_device(spec, 1, one_device(4000, 4000), 1024, demand)->predicted_bytes();
    std::vector<RankSituation> ranks = one_device(4000, 4000);
    ranks[0].devices[0].total_bytes = ranks[0].devices[0].free_bytes =
        static_cast<int64_t>(static_cast<double>(needed) / fill);
    return ranks;
  };
  EXPECT_FALSE(check_memory(spec, 1, at_fill(0.84), 1024, demand).has_value());
  EXPECT_TRUE(check_memory(spec, 1, at_fill(0.87), 1024, demand).has_value());
  message_of(ExitCode::kUnavailable, [&] { check_memory(spec, 1, at_fill(0.91), 1024, demand); });
  EXPECT_NE(memory_note(spec, 1, at_fill(0.87), 1024, demand).find("--allow-split"), std::string::npos);
}

TEST(DeviceBudget, places_on_one_device_add_up_and_the_host_holds_no_weights) {
  const model::ModelSpec spec = small_llama();
  std::vector<RankSituation> ranks = one_device(81920, 81920);
  const int64_t alone = fullest_device(spec, 1, ranks, 1024, {})->predicted_bytes();
  ranks.push_back(ranks[0]);
  EXPECT_EQ(device_memory(spec, 1, ranks, 1024, {}).size(), 1u);
  EXPECT_EQ(fullest_device(spec, 1, ranks, 1024, {})->predicted_bytes(), 2 * alone);
  ranks[1].devices[0].identity = "GPU-2";
  EXPECT_EQ(device_memory(spec, 1, ranks, 1024, {}).size(), 2u);
  EXPECT_EQ(fullest_device(spec, 1, ranks, 1024, {})->predicted_bytes(), alone);
  const RankMemory host = rank_memory(spec, 1, ranks[0], true, 1024, {});
  EXPECT_EQ(host.weights, 0);
  EXPECT_EQ(host.lanes.total(), 0);
  EXPECT_GT(host.loading, 0);
}

TEST(DeviceBudget, slots_get_half_of_what_the_weights_leave) {
  const model::ModelSpec spec = small_llama();
  const std::vector<RankSituation> ranks = one_device(81920, 81920);
  const int64_t bytes = device_slot_bytes(spec, 1, ranks[0].devices[0]);
  EXPECT_GT(bytes, 81920 * kMiB * 2 / 5);
  EXPECT_LT(bytes, 81920 * kMiB / 2);
  EXPECT_EQ(device_slot_bytes(spec, 1, one_device(81920, 500)[0].devices[0]), 0);
  EXPECT_EQ(device_slot_room(spec, bytes, 2).positions, bytes / (2 * 12 * 4 * 64 * 2));
}

TEST(Memory, travels_as_text) {
  const RankSituation rank{"h", {3, 2}, 1, {0, 1}, {4, 4}};
  const RankSituation read = rank_situation_from_json(to_json(rank));
  EXPECT_EQ(to_json(read), to_json(rank));
  const RankSituation with_device = one_device(3, 2)[0];
  const RankSituation read_device = rank_situation_from_json(to_json(with_device));
  EXPECT_EQ(to_json(read_device), to_json(with_device));
  EXPECT_EQ(read_device.devices[0].product_type, model::DType::kBFloat16);
}

}  // namespace
}  // namespace evalmpi::eval

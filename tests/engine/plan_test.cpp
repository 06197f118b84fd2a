#include "evalmpi/engine/plan.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/engine/chunk.h"

namespace evalmpi::engine {
namespace {

// Requests that share prefixes at several depths: headers, questions below them, choices below these.
std::vector<ScoreRequest> random_requests(uint32_t seed, int count, int longest_part) {
  std::mt19937 random(seed);
  const auto run = [&](int length) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < length; ++i) tokens.push_back(static_cast<int32_t>(random() % 7));
    return tokens;
  };
  std::vector<std::vector<int32_t>> headers;
  for (int i = 0; i < 3; ++i) headers.push_back(run(1 + static_cast<int>(random() % longest_part)));
  std::vector<ScoreRequest> requests;
  std::set<std::pair<std::vector<int32_t>, int32_t>> seen;
  while (static_cast<int>(requests.size()) < count) {
    std::vector<int32_t> tokens = headers[random() % headers.size()];
    const auto question = run(1 + static_cast<int>(random() % longest_part));
    tokens.insert(tokens.end(), question.begin(), question.end());
    for (int choice = 0; choice < 3; ++choice) {
      std::vector<int32_t> whole = tokens;
      const auto answer = run(1 + static_cast<int>(random() % 4));
      whole.insert(whole.end(), answer.begin(), answer.end());
      const auto targets = static_cast<int32_t>(1 + random() % (whole.size() - 1));
      if (!seen.insert({whole, targets}).second) continue;
      requests.push_back({{seed, requests.size()}, whole, targets});
    }
  }
  return requests;
}

// Distinct prefixes of all inputs, counted the slow way.
int64_t count_distinct(const std::vector<ScoreRequest>& requests) {
  std::set<std::vector<int32_t>> prefixes;
  for (const ScoreRequest& request : requests) {
    for (size_t length = 1; length < request.tokens.size(); ++length) {
      prefixes.insert({request.tokens.begin(), request.tokens.begin() + static_cast<int64_t>(length)});
    }
  }
  return static_cast<int64_t>(prefixes.size());
}

// The input tokens on the way to a chunk's node.
std::vector<int32_t> path_to(const ScoreChunk& chunk, int32_t node) {
  if (node < 0) return chunk.trunk;
  std::vector<int32_t> path = path_to(chunk, chunk.parent[node]);
  path.insert(path.end(), chunk.tokens.begin() + chunk.token_begin[node],
              chunk.tokens.begin() + chunk.token_begin[node + 1]);
  return path;
}

TEST(PlanScores, every_request_is_in_one_chunk_with_its_own_tokens) {
  for (const int64_t budget : {1, 5, 17, 60, 100'000}) {
    const std::vector<ScoreRequest> requests = random_requests(7, 120, 12);
    const Plan plan = plan_scores(requests, budget);
    std::map<Hash128, const ScoreRequest*> by_key;
    for (const ScoreRequest& request : requests) by_key[request.key] = &request;
    for (const PlannedChunk& planned : plan.chunks) {
      const auto chunk = std::get<ScoreChunk>(decode_chunk(planned.payload()));
      for (const ScoreChunk::Request& found : chunk.requests) {
        ASSERT_EQ(by_key.count(found.key), 1u);
        const ScoreRequest& wanted = *by_key[found.key];
        by_key.erase(found.key);
        std::vector<int32_t> path = path_to(chunk, found.node);
        EXPECT_EQ(found.targets, wanted.targets);
        EXPECT_GE(found.length - found.targets, static_cast<int32_t>(chunk.trunk.size()));
        path.push_back(found.last_target);
        EXPECT_EQ(path, wanted.tokens);
      }
    }
    EXPECT_TRUE(by_key.empty());
  }
}

TEST(PlanScores, counts_naive_and_distinct_tokens) {
  const std::vector<ScoreRequest> requests = random_requests(11, 90, 10);
  int64_t naive = 0;
  for (const ScoreRequest& request : requests) naive += static_cast<int64_t>(request.tokens.size()) - 1;
  const Plan plan = plan_scores(requests, 40);
  EXPECT_EQ(plan.naive_tokens, naive);
  EXPECT_EQ(plan.distinct_tokens, count_distinct(requests));
}

TEST(PlanScores, one_large_chunk_computes_each_distinct_token_once) {
  const std::vector<ScoreRequest> requests = random_requests(3, 60, 10);
  const Plan plan = plan_scores(requests, 1'000'000);
  ASSERT_EQ(plan.chunks.size(), 1u);
  EXPECT_EQ(plan.chunks[0].cost_tokens, count_distinct(requests));
  EXPECT_EQ(plan.planned_tokens, plan.distinct_tokens);
}

TEST(PlanScores, chunks_hold_to_the_budget_unless_one_branch_is_longer) {
  const std::vector<ScoreRequest> requests = random_requests(5, 200, 15);
  constexpr int64_t kBudget = 64;
  for (const PlannedChunk& planned : plan_scores(requests, kBudget).chunks) {
    const auto chunk = std::get<ScoreChunk>(decode_chunk(planned.payload()));
    // Beside the branches a chunk may repeat the end of its trunk, from the first target on.
    const int64_t repeated = chunk.parent.empty() ? 0 : chunk.token_begin[1];
    EXPECT_LE(static_cast<int64_t>(chunk.tokens.size()), kBudget + repeated);
  }
}

TEST(PlanScores, shared_header_is_a_trunk_of_all_its_chunks) {
  std::vector<ScoreRequest> requests;
  for (int32_t question = 0; question < 20; ++question) {
    std::vector<int32_t> tokens(50, 1);
    for (int32_t i = 0; i < 10; ++i) tokens.push_back(2 + question);
    tokens.push_back(99);
    requests.push_back({{1, static_cast<uint64_t>(question)}, tokens, 1});
  }
  const Plan plan = plan_scores(requests, 40);
  // Each at most a quarter of what is left, within 10 .. 40.
  std::vector<int64_t> own_tokens;
  for (const PlannedChunk& planned : plan.chunks) {
    EXPECT_EQ(std::get<ScoreChunk>(decode_chunk(planned.payload())).trunk, std::vector<int32_t>(50, 1));
    EXPECT_EQ(planned.prefix, plan.chunks[0].prefix);
    EXPECT_EQ(planned.trunk_tokens, 50);
    own_tokens.push_back(planned.cost_tokens - planned.trunk_tokens);
  }
  EXPECT_EQ(own_tokens, (std::vector<int64_t>{40, 40, 30, 20, 10, 10, 10, 10, 10, 10, 10}));
  EXPECT_EQ(plan.planned_tokens, 50 + 20 * 10);
}

TEST(PlanGenerations, prompts_come_whole_and_each_once) {
  std::vector<GenerateRequest> requests;
  for (int32_t i = 0; i < 50; ++i) requests.push_back({{2, static_cast<uint64_t>(i)}, {5, 5, 5, i % 7, i}, 8});
  std::set<uint64_t> seen;
  const Plan plan = plan_generations(requests, {}, 4, 1024);
  for (const PlannedChunk& planned : plan.chunks) {
    const auto chunk = std::get<GenerateChunk>(decode_chunk(planned.payload()));
    EXPECT_LE(chunk.requests.size(), 20u);
    for (const GenerateRequest& request : chunk.requests) {
      EXPECT_EQ(request.prompt, requests[request.key.low].prompt);
      EXPECT_TRUE(seen.insert(request.key.low).second);
      EXPECT_LT(chunk.trunk.size(), request.prompt.size());
    }
  }
  EXPECT_EQ(seen.size(), requests.size());
}

// Prompts below one long header: `groups` of them share a question, whose repeats differ in nothing but the key.
std::vector<GenerateRequest> prompts_with_repeats(int header_tokens, int groups, int repeats) {
  std::mt19937 random(4);
  std::vector<GenerateRequest> requests;
  for (int group = 0; group < groups; ++group) {
    std::vector<int32_t> prompt(static_cast<size_t>(header_tokens), 1);
    for (int i = 0; i < 60; ++i) prompt.push_back(static_cast<int32_t>(random() % 50));
    for (int repeat = 0; repeat < repeats; ++repeat) {
      requests.push_back({{static_cast<uint64_t>(group), static_cast<uint64_t>(repeat)}, prompt, 64});
    }
  }
  return requests;
}

TEST(PlanGenerations, little_is_planned_twice) {
  for (const int repeats : {1, 3, 63, 64}) {
    const Plan plan = plan_generations(prompts_with_repeats(900, 300, repeats), {}, 16, 1024);
    EXPECT_LE(static_cast<double>(plan.planned_tokens),
              (repeats < 60 ? 1.01 : 1.08) * static_cast<double>(plan.distinct_tokens));
    EXPECT_EQ(plan.naive_tokens, 300 * repeats * 960);
    for (const PlannedChunk& chunk : plan.chunks) EXPECT_EQ(chunk.prefix, plan.chunks[0].prefix);
  }
  // Without repeats of a prompt in two chunks nothing at all is.
  const Plan plan = plan_generations(prompts_with_repeats(900, 300, 1), {}, 16, 1024);
  EXPECT_LE(plan.planned_tokens - plan.distinct_tokens, static_cast<int64_t>(plan.chunks.size()) * 2);
}

TEST(PlanGenerations, chunks_shrink_towards_the_end_so_that_lanes_end_together) {
  for (const int new_tokens : {10, 64}) {
    for (const int count : {300, 1000}) {
      std::vector<GenerateRequest> requests = prompts_with_repeats(0, count, 1);
      for (GenerateRequest& request : requests) request.max_new_tokens = new_tokens;
      const Plan plan = plan_generations(requests, {}, 16, 1024);
      int64_t all = 0;
      for (const PlannedChunk& chunk : plan.chunks) all += chunk.cost_tokens;
      EXPECT_GE(plan.chunks.size(), 8u);
      EXPECT_LE(plan.chunks.size(), 12u + static_cast<size_t>(count) / 16);
      EXPECT_LE(plan.chunks.back().cost_tokens * 10, all);
      EXPECT_LE(plan.chunks.back().cost_tokens, (new_tokens == 10 ? 8 : 16) * (60 + new_tokens));
    }
  }
}

TEST(PlanGenerations, a_few_long_prompts_are_cut_in_two_and_short_ones_fill_the_slots) {
  const auto chunks = [](int header_tokens, int groups, int32_t slots) {
    return plan_generations(prompts_with_repeats(header_tokens, groups, 1), {}, slots, 1024).chunks.size();
  };
  std::vector<GenerateRequest> long_ones = prompts_with_repeats(0, 8, 1);
  for (GenerateRequest& request : long_ones) request.max_new_tokens = 10;
  EXPECT_EQ(plan_generations(long_ones, {}, 16, 1024).chunks.size(), 2u);
  EXPECT_EQ(chunks(0, 8, 16), 1u);
  EXPECT_EQ(chunks(300, 16, 16), 1u);
  EXPECT_EQ(chunks(300, 8, 4), 2u);
  EXPECT_EQ(chunks(0, 1, 16), 1u);
  EXPECT_EQ(plan_generations({}, {}, 16, 1024).chunks.size(), 0u);
}

TEST(PlanGenerations, a_message_holds_what_prompts_do_not_share_once) {
  const Plan plan = plan_generations(prompts_with_repeats(900, 1, 8), {}, 16, 1024);
  for (const PlannedChunk& chunk : plan.chunks) EXPECT_LE(chunk.payload().size(), 960 * 4 + 8 * 40 + 100);
}

TEST(Chunk, generations_come_back_whole_and_damage_is_refused) {
  GenerationSettings settings{.eos_ids = {3, 4},
                              .repetition_penalty = 1.25f,
                              .no_repeat_ngram_size = 2,
                              .is_sampling = true,
                              .temperature = 0.5f,
                              .top_k = 7,
                              .top_p = 0.75f,
                              .min_p = 0.125f,
                              .seed = 1ull << 40,
                              .stop = "[]"};
  const std::string bytes = plan_generations(prompts_with_repeats(70, 3, 2), settings, 4, 100).chunks[0].payload();
  const auto chunk = std::get<GenerateChunk>(decode_chunk(bytes));
  const GenerationSettings& back = chunk.settings;
  EXPECT_EQ(back.eos_ids, settings.eos_ids);
  EXPECT_EQ(std::tuple(back.repetition_penalty, back.no_repeat_ngram_size, back.is_sampling, back.temperature),
            std::tuple(1.25f, 2, true, 0.5f));
  EXPECT_EQ(std::tuple(back.top_k, back.top_p, back.min_p, back.seed, back.stop),
            std::tuple(7, 0.75f, 0.125f, 1ull << 40, "[]"));
  EXPECT_EQ(encode(Chunk(chunk)), bytes);
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW(decode_chunk(std::string_view(bytes).substr(0, length)), Error) << length;
  }
}

TEST(Chunk, every_cut_off_or_changed_message_is_refused_or_whole) {
  const std::string bytes = plan_scores(random_requests(1, 10, 5), 30).chunks[0].payload();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW(decode_chunk(std::string_view(bytes).substr(0, length)), Error) << length;
  }
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string changed = bytes;
    changed[random() % changed.size()] ^= static_cast<char>(1 << (random() % 8));
    try {
      decode_chunk(changed);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadInput);
    }
  }
}

}  // namespace
}  // namespace evalmpi::engine

// Lanes on the small models of tests/fixtures/model: the bits of an answer do not depend on how it was scheduled.

#include "evalmpi/engine/lane.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include "evalmpi/base/error.h"
#include "evalmpi/engine/plan.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/weights.h"

namespace evalmpi::engine {
namespace {

std::filesystem::path fixture(const char* name) {
  const std::filesystem::path source = EVALMPI_SOURCE_DIR;
  return std::string_view(name) == "demo" ? source / "configs/demo/model" : source / "tests/fixtures/model" / name;
}

StopCriterion never() {
  return [](const GenerationSettings&, const GenerateRequest&) { return [](int32_t) { return false; }; };
}

std::vector<std::shared_ptr<const model::Transformer>> load(const char* name, int tp) {
  const model::ModelSpec spec = model::read_model_spec(fixture(name));
  const model::ShardPlan plan = model::make_shard_plan(spec, tp);
  std::vector<std::shared_ptr<const model::Transformer>> places;
  for (int rank = 0; rank < tp; ++rank) {
    places.push_back(std::make_shared<model::Transformer>(model::load_weights(fixture(name), spec, plan, rank)));
  }
  return places;
}

std::string without_timings(const std::string& bytes) {
  ChunkRecord record = decode_record(bytes);
  for (GenerateResult& generation : record.generations) generation.timing = {};
  return encode(record);
}

// Runs chunks one after the other on lanes of one replica; all places must return the same records.
std::vector<ChunkRecord> run_chunks(const std::vector<std::shared_ptr<const model::Transformer>>& places,
                                    const std::vector<PlannedChunk>& chunks, int64_t budget) {
  std::vector<comm::Communicator> tp = comm::Communicator::threads(static_cast<int>(places.size()));
  std::vector<std::vector<std::string>> records(places.size());
  {
    std::vector<std::jthread> threads;
    for (size_t place = 0; place < places.size(); ++place) {
      threads.emplace_back([&, place] {
        const model::InferenceThread inference;
        Lane lane(places[place], std::move(tp[place]), budget, Hash128{1, 1});
        for (const PlannedChunk& chunk : chunks) records[place].push_back(lane.run(chunk.payload(), never()));
      });
    }
  }
  std::vector<ChunkRecord> decoded;
  for (size_t i = 0; i < chunks.size(); ++i) {
    for (const auto& of_place : records) EXPECT_EQ(without_timings(of_place[i]), without_timings(records[0][i]));
    decoded.push_back(decode_record(records[0][i]));
  }
  return decoded;
}

using Answers = std::map<Hash128, std::pair<std::vector<float>, std::vector<uint8_t>>>;

Answers scores_of(const std::vector<ChunkRecord>& records) {
  Answers answers;
  for (const ChunkRecord& record : records) {
    for (const ScoreResult& score : record.scores) answers[score.key] = {score.logprobs, score.is_argmax};
  }
  return answers;
}

std::vector<ScoreRequest> few_shot_requests(int64_t vocabulary) {
  std::mt19937 random(5);
  const auto run = [&](int length) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < length; ++i) tokens.push_back(static_cast<int32_t>(random() % vocabulary));
    return tokens;
  };
  const std::vector<int32_t> header = run(23);
  std::vector<ScoreRequest> requests;
  for (uint64_t question = 0; question < 6; ++question) {
    std::vector<int32_t> context = header;
    const std::vector<int32_t> own = run(3 + static_cast<int>(question) * 2);
    context.insert(context.end(), own.begin(), own.end());
    for (uint64_t choice = 0; choice < 3; ++choice) {
      std::vector<int32_t> tokens = context;
      const std::vector<int32_t> answer = run(1 + static_cast<int>(choice));
      tokens.insert(tokens.end(), answer.begin(), answer.end());
      requests.push_back({{question, choice}, tokens, static_cast<int32_t>(answer.size())});
    }
  }
  // One that is scored from its second token on, so that its targets lie in what the others share.
  requests.push_back({{100, 0}, requests[0].tokens, static_cast<int32_t>(requests[0].tokens.size()) - 1});
  return requests;
}

class LaneOfModel : public ::testing::TestWithParam<const char*> {};

TEST_P(LaneOfModel, scores_have_the_same_bits_alone_and_in_any_plan) {
  const auto places = load(GetParam(), 1);
  const std::vector<ScoreRequest> requests = few_shot_requests(places[0]->spec().vocab);
  Answers alone;
  for (const ScoreRequest& request : requests) {
    alone.merge(scores_of(run_chunks(places, plan_scores(std::span(&request, 1), 1000).chunks, 1000)));
  }
  ASSERT_EQ(alone.size(), requests.size());
  for (const int64_t plan_budget : {1, 8, 30, 1000}) {
    for (const int64_t segment_budget : {1, 7, 1000}) {
      EXPECT_EQ(scores_of(run_chunks(places, plan_scores(requests, plan_budget).chunks, segment_budget)), alone)
          << plan_budget << " " << segment_budget;
    }
  }
}

TEST_P(LaneOfModel, chunks_in_another_order_have_the_same_bits) {
  const auto places = load(GetParam(), 3);
  const std::vector<ScoreRequest> requests = few_shot_requests(places[0]->spec().vocab);
  std::vector<PlannedChunk> chunks = plan_scores(requests, 12).chunks;
  const Answers in_order = scores_of(run_chunks(places, chunks, 16));
  std::reverse(chunks.begin(), chunks.end());
  EXPECT_EQ(scores_of(run_chunks(places, chunks, 16)), in_order);
  EXPECT_EQ(in_order.size(), requests.size());
}

TEST_P(LaneOfModel, a_trunk_that_is_held_is_not_computed_again) {
  const auto places = load(GetParam(), 1);
  const Plan plan = plan_scores(few_shot_requests(places[0]->spec().vocab), 20);
  int64_t computed = 0;
  for (const ChunkRecord& record : run_chunks(places, plan.chunks, 64)) computed += record.computed_tokens;
  EXPECT_LE(computed, plan.planned_tokens);
  EXPECT_GE(computed, plan.distinct_tokens);
}

TEST_P(LaneOfModel, every_generated_token_is_the_argmax_of_what_precedes_it) {
  const auto places = load(GetParam(), 1);
  const int64_t vocabulary = places[0]->spec().vocab;
  std::vector<GenerateRequest> requests;
  for (int32_t i = 0; i < 7; ++i) {
    std::vector<int32_t> prompt = {1, 2, 3, 4};
    for (int32_t k = 0; k <= i; ++k) prompt.push_back(static_cast<int32_t>((7 * i + k) % vocabulary));
    requests.push_back({{9, static_cast<uint64_t>(i)}, prompt, 5 + i});
  }
  const auto generate = [&](int32_t slots, int64_t budget) {
    std::map<Hash128, std::vector<int32_t>> texts;
    for (const ChunkRecord& record : run_chunks(places, plan_generations(requests, {}, slots, budget).chunks, budget)) {
      for (const GenerateResult& result : record.generations) texts[result.key] = result.tokens;
    }
    return texts;
  };
  const auto texts = generate(1, 1000);
  ASSERT_EQ(texts.size(), requests.size());
  EXPECT_EQ(generate(4, 1000), texts);
  EXPECT_EQ(generate(3, 2), texts);
  for (const GenerateRequest& request : requests) {
    const std::vector<int32_t>& made = texts.at(request.key);
    ASSERT_EQ(made.size(), static_cast<size_t>(request.max_new_tokens));
    std::vector<int32_t> whole = request.prompt;
    whole.insert(whole.end(), made.begin(), made.end());
    const ScoreRequest check{{1, 0}, whole, request.max_new_tokens};
    const Answers answer = scores_of(run_chunks(places, plan_scores(std::span(&check, 1), 100).chunks, 100));
    EXPECT_EQ(answer.at(check.key).second, std::vector<uint8_t>(made.size(), 1));
  }
}

// Prompts that part at several depths, two that are equal but for their key, one that is the beginning of another.
std::vector<GenerateRequest> branching_prompts(int64_t vocabulary) {
  std::mt19937 random(3);
  const auto run = [&](std::vector<int32_t> tokens, int length) {
    for (int i = 0; i < length; ++i) tokens.push_back(static_cast<int32_t>(random() % vocabulary));
    return tokens;
  };
  const std::vector<int32_t> header = run({}, 9), left = run(header, 5), right = run(header, 4);
  std::vector<std::vector<int32_t>> prompts = {left,          run(left, 1), run(left, 6), run(right, 3),
                                               run(right, 2), run({}, 7),   header};
  const std::vector<int32_t> repeated = run(run(right, 2), 8);
  for (int i = 0; i < 5; ++i) prompts.push_back(repeated);
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < prompts.size(); ++i) {
    requests.push_back({{17, i}, prompts[i], static_cast<int32_t>(1 + i % 4 * 3)});
  }
  return requests;
}

TEST_P(LaneOfModel, generations_are_those_of_each_prompt_alone) {
  const auto places = load(GetParam(), 1);
  const std::vector<GenerateRequest> requests = branching_prompts(places[0]->spec().vocab);
  for (const GenerationSettings& settings :
       {GenerationSettings{},
        {.repetition_penalty = 1.3f, .no_repeat_ngram_size = 2},
        {.is_sampling = true, .temperature = 1.5f, .top_k = 40, .top_p = 0.95f, .min_p = 0.001f, .seed = 11}}) {
    std::map<Hash128, std::vector<int32_t>> alone;
    for (const GenerateRequest& request : requests) {
      const auto records = run_chunks(places, plan_generations(std::span(&request, 1), settings, 1, 1000).chunks, 1000);
      alone[request.key] = records.at(0).generations.at(0).tokens;
    }
    if (settings.is_sampling) {
      EXPECT_NE(alone.at({17, 7 + 3}), alone.at({17, 7 + 4})) << "repeats of a prompt draw on their own";
    } else {
      EXPECT_EQ(alone.at({17, 7 + 4}).front(), alone.at({17, 7}).front());
    }
    for (const int32_t slots : {1, 2, 3, 16}) {
      for (const int64_t budget : {1, 5, 1000}) {
        const Plan plan = plan_generations(requests, settings, slots, budget);
        std::map<Hash128, std::vector<int32_t>> found;
        int64_t computed = 0;
        for (const ChunkRecord& record : run_chunks(places, plan.chunks, budget)) {
          computed += record.computed_tokens;
          for (const GenerateResult& result : record.generations) found[result.key] = result.tokens;
        }
        EXPECT_EQ(found, alone) << slots << " slots, budget " << budget;
        EXPECT_EQ(computed, plan.planned_tokens);
        EXPECT_TRUE(plan.chunks.size() > 1 || computed == plan.distinct_tokens);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, LaneOfModel, ::testing::Values("llama", "llama_odd", "neox"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Lane, an_end_token_and_the_stop_check_end_a_generation) {
  const auto places = load("llama", 1);
  const GenerateRequest request{{1, 1}, {1, 2, 3}, 20};
  const auto result = [&](const GenerationSettings& settings, const StopCriterion& stop) {
    const model::InferenceThread inference;
    Lane lane(places[0], comm::Communicator::self(), 100, {});
    const Plan plan = plan_generations(std::span(&request, 1), settings, 4, 100);
    return decode_record(lane.run(plan.chunks.at(0).payload(), stop)).generations.at(0);
  };
  const auto run = [&](const GenerationSettings& settings, const StopCriterion& stop) {
    return result(settings, stop).tokens;
  };
  const auto reason = [&](const GenerationSettings& settings, const StopCriterion& stop) {
    return result(settings, stop).finish;
  };
  const std::vector<int32_t> free_run = run({}, never());
  ASSERT_EQ(free_run.size(), 20u);
  const int32_t end = free_run[4];
  const auto first = std::find(free_run.begin(), free_run.end(), end) - free_run.begin();
  EXPECT_EQ(reason({}, never()), FinishReason::kLength);
  EXPECT_EQ(reason({.eos_ids = {end}}, never()), FinishReason::kEndToken);
  EXPECT_EQ(reason({}, [](const auto&, const auto&) { return [](int32_t) { return true; }; }), FinishReason::kStop);
  EXPECT_EQ(run({.eos_ids = {end}}, never()), std::vector<int32_t>(free_run.begin(), free_run.begin() + first + 1));
  const auto after_three = run({.stop = "x"}, [](const GenerationSettings& settings, const GenerateRequest&) {
    EXPECT_EQ(settings.stop, "x");
    return [count = 0](int32_t) mutable { return ++count == 3; };
  });
  EXPECT_EQ(after_three, std::vector<int32_t>(free_run.begin(), free_run.begin() + 3));
}

// Of the demo's 512 positions 300 are common to all prompts, so that paths share keys and values.
TEST(Lane, generations_over_a_shared_trunk_are_those_of_each_prompt_alone) {
  const int64_t vocabulary = 401;
  std::mt19937 random(9);
  std::vector<int32_t> common;
  for (int i = 0; i < 300; ++i) common.push_back(static_cast<int32_t>(random() % vocabulary));
  std::vector<GenerateRequest> requests = branching_prompts(vocabulary);
  for (GenerateRequest& request : requests) request.prompt.insert(request.prompt.begin(), common.begin(), common.end());
  for (const int tp : {1, 2, 3}) {
    const auto places = load("demo", tp);
    std::map<Hash128, std::vector<int32_t>> alone;
    for (const GenerateRequest& request : requests) {
      const auto records = run_chunks(places, plan_generations(std::span(&request, 1), {}, 1, 1000).chunks, 1000);
      alone[request.key] = records.at(0).generations.at(0).tokens;
    }
    for (const int32_t slots : {1, 3, 16}) {
      for (const int64_t budget : {7, 1000}) {
        const Plan plan = plan_generations(requests, {}, slots, budget);
        std::map<Hash128, std::vector<int32_t>> found;
        int64_t computed = 0;
        for (const ChunkRecord& record : run_chunks(places, plan.chunks, budget)) {
          computed += record.computed_tokens;
          for (const GenerateResult& result : record.generations) found[result.key] = result.tokens;
        }
        EXPECT_EQ(found, alone) << "tp " << tp << ", " << slots << " slots, budget " << budget;
        EXPECT_LE(computed, plan.planned_tokens);
      }
    }
  }
}

// A lane goes from generations over one trunk to scores, to generations over another, and back.
TEST(Lane, a_shared_trunk_gives_way_to_other_chunks) {
  const auto places = load("demo", 1);
  std::vector<PlannedChunk> chunks;
  const auto add = [&](const Plan& plan) {
    for (const PlannedChunk& chunk : plan.chunks) chunks.push_back(chunk);
  };
  for (const int32_t first : {5, 6, 5}) {
    std::vector<GenerateRequest> requests;
    for (int32_t i = 0; i < 4; ++i) {
      std::vector<int32_t> prompt(280, first);
      prompt.push_back(i + 20);
      requests.push_back({{static_cast<uint64_t>(first), static_cast<uint64_t>(i)}, prompt, 6});
    }
    add(plan_generations(requests, {}, 4, 1000));
    const std::vector<ScoreRequest> scores = {{{1, 1}, std::vector<int32_t>(290, first), 20}, {{1, 2}, {3, 4, 5}, 2}};
    add(plan_scores(scores, 1000));
  }
  const std::vector<ChunkRecord> in_a_row = run_chunks(places, chunks, 100);
  for (size_t i = 0; i < chunks.size(); ++i) {
    ChunkRecord record = run_chunks(places, {chunks[i]}, 100).at(0);
    record.computed_tokens = in_a_row[i].computed_tokens;
    EXPECT_EQ(without_timings(encode(record)), without_timings(encode(in_a_row[i]))) << i;
  }
}

// On a CPU the recorded work is done again: what a recording needs is checked, that its buffers are filled anew.
TEST(Lane, replayed_steps_give_the_same_generations) {
  for (const char* name : {"llama", "neox", "demo"}) {
    const auto places = load(name, 1);
    const model::InferenceThread inference;
    std::vector<GenerateRequest> requests = branching_prompts(places[0]->spec().vocab);
    for (GenerateRequest& request : requests) request.max_new_tokens = 10 + 2 * request.max_new_tokens;
    for (const GenerationSettings& settings :
         {GenerationSettings{}, {.is_sampling = true, .temperature = 1.5f, .top_k = 40, .seed = 11}}) {
      for (const int32_t slots : {1, 3, 16}) {
        const Plan plan = plan_generations(requests, settings, slots, 1000);
        Lane plain(places[0], comm::Communicator::self(), 64, {}),
            replaying(places[0], comm::Communicator::self(), 64, {});
        replaying.replay_steps(true);
        for (const PlannedChunk& chunk : plan.chunks) {
          EXPECT_EQ(without_timings(replaying.run(chunk.payload(), never())),
                    without_timings(plain.run(chunk.payload(), never())))
              << name << ", " << slots << " slots";
        }
      }
    }
  }
}

// A device without memory, as often as `times` says, in the middle of a generation.
StopCriterion without_memory(int* times) {
  return [times](const GenerationSettings&, const GenerateRequest&) {
    return [times](int32_t) {
      if (*times > 0) {
        --*times;
        throw c10::OutOfMemoryError({}, "the device has 1 MiB free");
      }
      return false;
    };
  };
}

TEST(Lane, a_chunk_without_memory_is_computed_again_or_in_parts) {
  const auto places = load("demo", 1);
  const model::InferenceThread inference;
  const Hash128 whole{1, 1}, split{2, 2};
  std::vector<GenerateRequest> requests = branching_prompts(places[0]->spec().vocab);
  const std::string chunk = plan_generations(requests, {}, 16, 1000).chunks.at(0).payload();
  // The record with one failing attempt after another; the lane has computed something else before.
  const auto run = [&](int shortages, bool may_split) {
    Lane lane(places[0], comm::Communicator::self(), 64, whole);
    if (may_split) lane.allow_split(split);
    const ScoreRequest before{{1, 2}, {3, 4, 5}, 2};
    lane.run(plan_scores(std::span(&before, 1), 10).chunks.at(0).payload(), never());
    return decode_record(without_timings(lane.run(chunk, without_memory(&shortages))));
  };
  const ChunkRecord expected = run(0, false);
  EXPECT_EQ(encode(run(1, false)), encode(expected));
  EXPECT_EQ(encode(run(1, true)), encode(expected));
  ChunkRecord in_parts = run(3, true);
  EXPECT_EQ(in_parts.numerics_class, split);
  in_parts.numerics_class = whole;
  EXPECT_EQ(encode(in_parts), encode(expected));
  EXPECT_THROW(run(2, false), Error);
}

TEST(Lane, refuses_token_ids_outside_the_vocabulary) {
  const auto places = load("llama", 1);
  const model::InferenceThread inference;
  Lane lane(places[0], comm::Communicator::self(), 100, {});
  for (const int32_t bad : {-1, static_cast<int32_t>(places[0]->spec().vocab)}) {
    for (const size_t at : {size_t{0}, size_t{2}, size_t{3}}) {
      ScoreRequest request{{1, 1}, {1, 2, 3, 4}, 1};
      request.tokens[at] = bad;
      const std::string chunk = plan_scores(std::span(&request, 1), 10).chunks.at(0).payload();
      EXPECT_THROW(lane.run(chunk, never()), Error);
    }
  }
}

}  // namespace
}  // namespace evalmpi::engine

// Lanes of one place (and of tensor-parallel groups) that share trunks: computed once, with the bits of a lane alone.

#include "evalmpi/engine/shared_trunks.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include "evalmpi/engine/lane.h"
#include "evalmpi/engine/plan.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/weights.h"

namespace evalmpi::engine {
namespace {

using Tokens = std::vector<int32_t>;

constexpr int64_t kBudget = 30;

std::vector<std::shared_ptr<const model::Transformer>> load(int tp) {
  const std::filesystem::path folder = std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/model/llama";
  const model::ModelSpec spec = model::read_model_spec(folder);
  const model::ShardPlan plan = model::make_shard_plan(spec, tp);
  std::vector<std::shared_ptr<const model::Transformer>> places;
  for (int rank = 0; rank < tp; ++rank) {
    places.push_back(std::make_shared<model::Transformer>(model::load_weights(folder, spec, plan, rank)));
  }
  return places;
}

Tokens random_tokens(std::mt19937& random, int length, int64_t vocabulary) {
  Tokens tokens;
  for (int i = 0; i < length; ++i) tokens.push_back(static_cast<int32_t>(random() % vocabulary));
  return tokens;
}

// Questions below a few headers, each header too long to share a chunk with all that hangs on it.
std::vector<ScoreRequest> questions_below_headers(int64_t vocabulary) {
  std::mt19937 random(7);
  std::vector<ScoreRequest> requests;
  for (uint64_t header = 0; header < 3; ++header) {
    const Tokens shared = random_tokens(random, 25, vocabulary);
    for (uint64_t question = 0; question < 12; ++question) {
      Tokens tokens = shared;
      const Tokens own = random_tokens(random, 9, vocabulary);
      tokens.insert(tokens.end(), own.begin(), own.end());
      requests.push_back({{header, question}, tokens, 2});
    }
  }
  return requests;
}

StopCriterion never() {
  return [](const GenerationSettings&, const GenerateRequest&) { return [](int32_t) { return false; }; };
}

struct Outcome {
  std::map<Hash128, std::vector<float>> logprobs;
  int64_t computed_tokens = 0;
};

// `lanes` lanes take the chunks in order, whoever is free first; each lane is a group over all places.
Outcome run_on_lanes(const std::vector<std::shared_ptr<const model::Transformer>>& places,
                     const std::vector<PlannedChunk>& chunks, int lanes) {
  std::vector<std::shared_ptr<SharedTrunks>> trunks;
  for (size_t place = 0; place < places.size(); ++place) trunks.push_back(std::make_shared<SharedTrunks>());
  std::vector<std::vector<std::unique_ptr<Lane>>> lane_of(places.size());
  for (int lane = 0; lane < lanes; ++lane) {
    std::vector<comm::Communicator> tp = comm::Communicator::threads(static_cast<int>(places.size()));
    for (size_t place = 0; place < places.size(); ++place) {
      lane_of[place].push_back(
          std::make_unique<Lane>(places[place], std::move(tp[place]), kBudget, Hash128{1, 1}, trunks[place]));
    }
  }
  std::vector<std::string> records(chunks.size());
  std::atomic<size_t> next{0};
  std::vector<std::jthread> threads;
  for (size_t place = 0; place < places.size(); ++place) {
    for (int lane = 0; lane < lanes; ++lane) {
      threads.emplace_back([&, place, lane] {
        const model::InferenceThread inference;
        Lane& mine = *lane_of[place][lane];
        while (true) {
          int64_t i = place == 0 ? static_cast<int64_t>(next++) : 0;
          mine.communicator().broadcast(std::as_writable_bytes(std::span(&i, 1)), 0);
          if (i >= static_cast<int64_t>(chunks.size())) return;
          std::string record = mine.run(chunks[i].payload(), never());
          if (place == 0) records[i] = std::move(record);
        }
      });
    }
  }
  threads.clear();
  Outcome outcome;
  for (const std::string& bytes : records) {
    const ChunkRecord record = decode_record(bytes);
    outcome.computed_tokens += record.computed_tokens;
    for (const ScoreResult& score : record.scores) outcome.logprobs[score.key] = score.logprobs;
  }
  return outcome;
}

TEST(SharedTrunks, lanes_that_take_turns_compute_each_trunk_once) {
  const auto places = load(1);
  const std::vector<ScoreRequest> requests = questions_below_headers(places[0]->spec().vocab);
  const Plan plan = plan_scores(requests, kBudget);
  const auto trunks = std::make_shared<SharedTrunks>();
  std::vector<std::unique_ptr<Lane>> lanes;
  for (int lane = 0; lane < 3; ++lane) {
    lanes.push_back(std::make_unique<Lane>(places[0], comm::Communicator::self(), kBudget, Hash128{1, 1}, trunks));
  }
  const model::InferenceThread inference;
  int64_t computed_tokens = 0;
  for (size_t i = 0; i < plan.chunks.size(); ++i) {
    computed_tokens += decode_record(lanes[i % 3]->run(plan.chunks[i].payload(), never())).computed_tokens;
  }
  EXPECT_EQ(computed_tokens, plan.distinct_tokens);
}

TEST(SharedTrunks, busy_lanes_give_the_bits_of_one_lane) {
  for (const int tp : {1, 2}) {
    const auto places = load(tp);
    const std::vector<ScoreRequest> requests = questions_below_headers(places[0]->spec().vocab);
    const Plan plan = plan_scores(requests, kBudget);
    ASSERT_GT(plan.chunks.size(), 9u);
    const Outcome alone = run_on_lanes(places, plan.chunks, 1);
    EXPECT_EQ(alone.computed_tokens, plan.distinct_tokens);
    EXPECT_EQ(alone.logprobs.size(), requests.size());
    for (int repeat = 0; repeat < 5; ++repeat) {
      for (const int lanes : {2, 4}) {
        const Outcome shared = run_on_lanes(places, plan.chunks, lanes);
        EXPECT_EQ(shared.logprobs, alone.logprobs) << tp << " " << lanes;
        EXPECT_GE(shared.computed_tokens, plan.distinct_tokens);
      }
    }
  }
}

// One lane's store filled with keys and values that tell which lane wrote them.
struct FilledStore {
  explicit FilledStore(float mark) : store(1, 1, 1, 16, 16) {
    store.reserve(64);
    const at::Tensor rows = at::full({40, 1, 16}, mark);
    const std::vector<int32_t> map = {0};
    const std::vector<ops::AttentionSpan> spans = {{0, 0, 0, 40}};
    ops::attention(rows, rows, rows, spans, store, 0, map, {.scale = 1.0});
  }
  ops::KeyValueStore store;
};

// What attention at position `length` sees when its own value is 0: the mean of the values before it.
float value_seen_after(ops::KeyValueStore& store, int32_t length) {
  const at::Tensor row = at::zeros({1, 1, 16});
  const std::vector<int32_t> map = {0};
  const std::vector<ops::AttentionSpan> spans = {{0, length, 0, 1}};
  return ops::attention(row, row, row, spans, store, 0, map, {.scale = 1.0})[0][0].item<float>() *
         static_cast<float>(length + 1) / static_cast<float>(length);
}

TEST(SharedTrunks, a_longer_shared_part_is_copied_and_a_shorter_one_is_not) {
  SharedTrunks trunks;
  const int first = trunks.join(), second = trunks.join();
  FilledStore filled(3.0f), empty(5.0f);
  const Tokens held = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(trunks.claim(first, held, 0).lane, -1);
  trunks.publish(first, filled.store);
  const Tokens wanted = {1, 2, 3, 4, 5, 9, 9};
  EXPECT_EQ(trunks.claim(second, wanted, 5).lane, -1);
  trunks.withdraw(second);
  const SharedTrunks::Source source = trunks.claim(second, wanted, 4);
  EXPECT_EQ(source.lane, first);
  EXPECT_EQ(source.tokens, 5);
  trunks.copy(source, empty.store);
  EXPECT_FLOAT_EQ(value_seen_after(empty.store, 5), 3.0f);
}

TEST(SharedTrunks, a_source_stays_until_it_is_copied) {
  SharedTrunks trunks;
  const int first = trunks.join(), second = trunks.join();
  FilledStore filled(3.0f), other(5.0f);
  const Tokens trunk = {1, 2, 3, 4}, next = {7, 8, 9};
  trunks.claim(first, trunk, 0);
  trunks.publish(first, filled.store);
  const SharedTrunks::Source source = trunks.claim(second, trunk, 0);
  ASSERT_EQ(source.lane, first);
  std::atomic<bool> has_begun{false};
  std::jthread changer([&] {
    trunks.claim(first, next, 0);
    has_begun = true;
  });
  EXPECT_FALSE(has_begun);
  trunks.copy(source, other.store);
  changer.join();
  EXPECT_TRUE(has_begun);
}

TEST(SharedTrunks, a_follower_refuses_what_its_own_rank_no_longer_holds) {
  SharedTrunks trunks;
  const int first = trunks.join(), second = trunks.join();
  FilledStore filled(3.0f);
  const Tokens trunk = {1, 2, 3, 4};
  EXPECT_FALSE(trunks.follow(second, trunk, {first, 4}));
  trunks.withdraw(second);
  trunks.claim(first, trunk, 0);
  trunks.publish(first, filled.store);
  EXPECT_TRUE(trunks.follow(second, trunk, {first, 4}));
  trunks.release({first, 4});
  EXPECT_FALSE(trunks.follow(second, Tokens{1, 2, 9, 9}, {first, 4}));
  EXPECT_FALSE(trunks.follow(second, trunk, {}));
}

TEST(SharedTrunks, a_lane_waits_for_a_trunk_that_is_being_computed) {
  SharedTrunks trunks;
  const int first = trunks.join(), second = trunks.join();
  FilledStore filled(3.0f);
  const Tokens trunk = {1, 2, 3, 4}, sibling = {1, 9, 9, 9, 9, 9, 9};
  trunks.claim(first, trunk, 0);
  EXPECT_EQ(trunks.claim(second, sibling, 0).lane, -1);  // one shared token is not worth the wait
  trunks.withdraw(second);
  SharedTrunks::Source source;
  std::jthread waiter([&] { source = trunks.claim(second, trunk, 0); });
  trunks.publish(first, filled.store);
  waiter.join();
  EXPECT_EQ(source.lane, first);
  EXPECT_EQ(source.tokens, 4);
}

}  // namespace
}  // namespace evalmpi::engine

#include "next_token.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/json.h"
#include "philox.h"

namespace evalmpi::engine {
namespace {

int32_t choose(std::vector<float> logits, const std::vector<int32_t>& sequence, const GenerationSettings& settings) {
  return TokenChooser(settings, {}).choose(logits, sequence);
}

TEST(NextToken, is_the_largest_logit_and_the_lowest_id_on_ties) {
  EXPECT_EQ(choose({1, 3, 2}, {0}, {}), 1);
  EXPECT_EQ(choose({1, 3, 3}, {0}, {}), 1);
  EXPECT_EQ(choose({-5, -5, -7}, {0}, {}), 0);
}

TEST(NextToken, repetition_divides_positive_and_multiplies_negative_logits_once) {
  // Seen twice, token 0 still falls from 3 to 1.5 only, below 1.6 and above 1.4.
  EXPECT_EQ(choose({3, 1.6f}, {0, 0}, {.repetition_penalty = 2}), 1);
  EXPECT_EQ(choose({3, 1.4f}, {0, 0}, {.repetition_penalty = 2}), 0);
  EXPECT_EQ(choose({-1, -1.9f}, {0}, {.repetition_penalty = 2}), 1);
  EXPECT_EQ(choose({-1, -2.1f}, {0}, {.repetition_penalty = 2}), 0);
}

TEST(NextToken, a_repeated_ngram_is_forbidden) {
  const std::vector<float> logits = {0, 5, 4, 3};
  EXPECT_EQ(choose(logits, {2, 3, 1, 2, 3}, {.no_repeat_ngram_size = 3}), 2);  // 2 3 1 stood there
  EXPECT_EQ(choose(logits, {2, 3, 1, 2, 3}, {.no_repeat_ngram_size = 4}), 1);
  EXPECT_EQ(choose(logits, {1, 2}, {.no_repeat_ngram_size = 1}), 3);
  EXPECT_EQ(choose(logits, {1}, {.no_repeat_ngram_size = 5}), 1);
}

TEST(NextToken, penalties_follow_the_sequence_as_it_grows) {
  const GenerationSettings settings{.repetition_penalty = 2};
  TokenChooser chooser(settings, {});
  std::vector<int32_t> sequence = {3};
  for (int step = 0; step < 4; ++step) {
    std::vector<float> logits = {4, 3.9f, 3.8f, 3.7f}, same = logits;
    const int32_t token = chooser.choose(logits, sequence);
    EXPECT_EQ(token, choose(same, sequence, settings));
    EXPECT_EQ(token, step < 3 ? step : 0);
    sequence.push_back(token);
  }
}

TEST(Argmax, finds_the_first_largest_wherever_it_is) {
  for (const size_t size : {1u, 15u, 16u, 17u, 100u}) {
    for (size_t at = 0; at < size; ++at) {
      std::vector<float> values(size, -3);
      for (size_t i = at; i < size; i += 5) values[i] = 2;
      EXPECT_EQ(argmax(values), static_cast<int32_t>(at)) << size;
    }
    EXPECT_EQ(argmax(std::vector<float>(size, -std::numeric_limits<float>::infinity())), 0);
  }
}

TEST(Philox, gives_the_published_words) {  // Random123's known answers
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Cases of tools/fixtures/make_sampling_fixtures.py, with what transformers' processors leave of each.
TEST(SamplingDistribution, is_transformers_s) {
  const Json cases = parse_json(
      read_file(std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/engine/sampling.json"), "sampling.json");
  ASSERT_GT(cases.size(), 20u);
  for (const Json& test : cases) {
    GenerationSettings settings{.is_sampling = true};
    settings.temperature = test["temperature"];
    settings.top_k = test["top_k"];
    settings.top_p = test["top_p"];
    settings.min_p = test["min_p"];
    const Distribution found = sampling_distribution(test["logits"].get<std::vector<float>>(), settings);
    ASSERT_EQ(found.ids, test["ids"].get<std::vector<int32_t>>()) << test["name"];
    for (size_t i = 0; i < found.ids.size(); ++i) {
      EXPECT_NEAR(found.probabilities[i], test["probabilities"][i].get<double>(), 1e-6) << test["name"];
    }
  }
}

TEST(SamplingDistribution, keeps_the_most_probable_token_whatever_is_asked) {
  const std::vector<float> logits = {1, 5, 2};
  for (const GenerationSettings& settings :
       {GenerationSettings{.top_p = 0}, {.top_k = 1}, {.min_p = 1}, {.temperature = 1e-4f}}) {
    const Distribution found = sampling_distribution(logits, settings);
    EXPECT_NEAR(
        found.probabilities[static_cast<size_t>(std::find(found.ids.begin(), found.ids.end(), 1) - found.ids.begin())],
        1, 1e-12);
  }
  EXPECT_EQ(sampling_distribution(std::vector<float>(40, 3.0f), {.top_p = 0}).ids, std::vector<int32_t>{39});
  EXPECT_EQ(sampling_distribution(std::vector<float>(40, 3.0f), {.top_k = 2}).ids.size(), 40u);  // ties stay
  EXPECT_THROW(sampling_distribution(std::vector<float>{1, std::numeric_limits<float>::infinity()}, {}), Error);
}

TEST(NextToken, draws_follow_the_distribution_and_depend_on_seed_key_and_position_only) {
  const std::vector<float> logits = {0, 1, 2, -1, 0.5f};
  GenerationSettings settings{.is_sampling = true, .temperature = 1.3f, .seed = 7};
  const Distribution expected = sampling_distribution(logits, settings);
  constexpr int kDraws = 20'000;
  std::vector<int> count(logits.size());
  for (uint64_t i = 0; i < kDraws; ++i) {
    std::vector<float> scratch = logits;
    ++count[TokenChooser(settings, {i, i * i}).choose(scratch, std::vector<int32_t>(1 + i % 9))];
  }
  for (size_t id = 0; id < logits.size(); ++id) {
    const double p = expected.probabilities[id];
    EXPECT_NEAR(count[id] / static_cast<double>(kDraws), p, 5 * std::sqrt(p * (1 - p) / kDraws));
  }
  const auto text = [&](uint64_t seed, const Hash128& key) {
    settings.seed = seed;
    std::vector<int32_t> sequence = {1};
    TokenChooser chooser(settings, key);
    for (int i = 0; i < 40; ++i) {
      std::vector<float> scratch = logits;
      sequence.push_back(chooser.choose(scratch, sequence));
    }
    return sequence;
  };
  EXPECT_EQ(text(7, {1, 2}), text(7, {1, 2}));
  EXPECT_NE(text(7, {1, 2}), text(8, {1, 2}));
  EXPECT_NE(text(7, {1, 2}), text(7, {1, 3}));
  EXPECT_NE(text(7, {1, 2}), text(7, {2, 2}));
}

}  // namespace
}  // namespace evalmpi::engine

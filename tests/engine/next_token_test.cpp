#include "next_token.h"

#include <gtest/gtest.h>

namespace evalmpi::engine {
namespace {

int32_t choose(std::vector<float> logits, const std::vector<int32_t>& sequence, const GenerationSettings& settings) {
  return choose_next_token(logits, sequence, settings);
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

}  // namespace
}  // namespace evalmpi::engine

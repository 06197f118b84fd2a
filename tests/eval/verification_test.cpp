#include "verification.h"

#include <gtest/gtest.h>

#include <cmath>

#include "error_code.h"

namespace evalmpi::eval {
namespace {

engine::ChunkRecord record(float logprob) {
  engine::ChunkRecord chunk;
  chunk.numerics_class = {1, 2};
  engine::ScoreResult score;
  score.key = {7, 7};
  score.logprobs = {-1.5F, logprob};
  score.is_argmax = {1, 0};
  chunk.scores.push_back(score);
  engine::GenerateResult generation;
  generation.key = {8, 8};
  generation.tokens = {3, 4};
  chunk.generations.push_back(generation);
  return chunk;
}

TEST(Verification, chooses_an_even_share_and_the_first) {
  for (const auto& [fraction, expected] : {std::pair(0.0, 0), {0.01, 10}, {0.5, 500}, {1.0, 1000}}) {
    Verification verification(fraction);
    int chosen = verification.chooses_next() ? 1 : 0;
    EXPECT_EQ(chosen, fraction > 0 ? 1 : 0);
    for (int i = 1; i < 1000; ++i) chosen += verification.chooses_next() ? 1 : 0;
    EXPECT_EQ(chosen, expected) << fraction;
    EXPECT_EQ(verification.counts().chosen, expected);
  }
}

TEST(Verification, takes_times_for_no_difference) {
  Verification verification(1);
  verification.keep(5, "rank0", record(-2));
  engine::ChunkRecord again = record(-2);
  again.computed_tokens = 99;
  again.generations[0].timing.first_token_seconds = 3;
  verification.compare(5, "rank1", again);
  EXPECT_EQ(verification.counts().compared, 1);
}

TEST(Verification, finds_one_bit) {
  const float next = std::nextafter(-2.0F, 0.0F);
  Verification verification(1);
  verification.keep(5, "rank0.log", record(-2));
  EXPECT_EQ(code_of([&] { verification.compare(5, "rank1.log", record(next)); }), ExitCode::kUnavailable);
  verification.keep(6, "rank0.log", record(-2));
  engine::ChunkRecord shorter = record(-2);
  shorter.generations[0].tokens = {3};
  EXPECT_EQ(code_of([&] { verification.compare(6, "rank1.log", shorter); }), ExitCode::kUnavailable);
  verification.keep(7, "rank0.log", record(-2));
  shorter.generations.clear();
  EXPECT_EQ(code_of([&] { verification.compare(7, "rank1.log", shorter); }), ExitCode::kUnavailable);
}

TEST(Verification, does_not_compare_two_numerics_classes) {
  Verification verification(1);
  verification.keep(5, "rank0", record(-2));
  engine::ChunkRecord other = record(-2.5F);
  other.numerics_class = {3, 4};
  verification.compare(5, "rank1", other);
  EXPECT_EQ(verification.counts().not_comparable, 1);
  EXPECT_EQ(verification.counts().compared, 0);
}

}  // namespace
}  // namespace evalmpi::eval

#include "encode.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "evalmpi/base/error.h"

namespace evalmpi::eval {
namespace {

const text::Tokenizer& demo_tokenizer() {
  static const text::Tokenizer tokenizer =
      text::Tokenizer::load(std::filesystem::path(EVALMPI_SOURCE_DIR) / "configs/demo/model");
  return tokenizer;
}

std::vector<int32_t> targets_of(const EncodedPair& pair) {
  return {pair.tokens.end() - pair.targets, pair.tokens.end()};
}

TEST(EncodePair, is_the_whole_text_cut_by_the_tokens_of_the_context) {
  const PromptEncoder encoder(demo_tokenizer(), {}, 512, 512);
  const EncodedPair pair = encoder.encode_pair("Words: one two", " three");
  EXPECT_EQ(pair.tokens, demo_tokenizer().encode("Words: one two three", true));
  EXPECT_EQ(pair.tokens.size() - static_cast<size_t>(pair.targets),
            demo_tokenizer().encode("Words: one two", true).size());
}

TEST(EncodePair, trailing_whitespace_of_the_context_belongs_to_the_continuation) {
  const PromptEncoder encoder(demo_tokenizer(), {}, 512, 512);
  const EncodedPair moved = encoder.encode_pair("Answer: \n", "x");
  const EncodedPair plain = encoder.encode_pair("Answer:", " \nx");
  EXPECT_EQ(moved.tokens, plain.tokens);
  EXPECT_EQ(moved.targets, plain.targets);
}

TEST(EncodePair, an_empty_context_is_the_prefix_token) {
  const PromptEncoder encoder(demo_tokenizer(), {}, 512, 512);
  const EncodedPair pair = encoder.encode_pair("", "one two");
  const std::vector<int32_t> alone = demo_tokenizer().encode("one two", false);
  EXPECT_EQ(pair.tokens.front(), text::prefix_token_id(demo_tokenizer(), {}));
  EXPECT_EQ(targets_of(pair), alone);
}

TEST(EncodePair, keeps_the_last_tokens_that_the_model_can_see) {
  const PromptEncoder wide(demo_tokenizer(), {}, 512, 512);
  const EncodedPair whole = wide.encode_pair("one two three four five six seven", " eight nine");
  const PromptEncoder narrow(demo_tokenizer(), {}, whole.targets + 2, 512);
  const EncodedPair cut = narrow.encode_pair("one two three four five six seven", " eight nine");
  ASSERT_EQ(cut.tokens.size(), static_cast<size_t>(whole.targets) + 3);
  EXPECT_TRUE(std::equal(cut.tokens.rbegin(), cut.tokens.rend(), whole.tokens.rbegin()));
  EXPECT_EQ(cut.targets, whole.targets);
}

TEST(EncodePair, refuses_what_cannot_be_scored) {
  const PromptEncoder encoder(demo_tokenizer(), {}, 3, 3);
  EXPECT_THROW(encoder.encode_pair("one", ""), Error);
  EXPECT_THROW(encoder.encode_pair("one", " a very long continuation that does not fit"), Error);
}

// With 10 tokens and 4 positions lm-evaluation-harness has the contexts [prefix], [3], [5, 6, 7] and the targets
// [0, 1, 2, 3], [4, 5, 6, 7], [8, 9].
TEST(EncodeRolling, predicts_every_token_once_with_full_windows) {
  const std::vector<int32_t> tokens = demo_tokenizer().encode("one two three four five six seven eight nine ten", true);
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  ASSERT_GE(n_tokens, 10);
  const PromptEncoder encoder(demo_tokenizer(), {}, 4, 4);
  const std::vector<EncodedPair> windows = encoder.encode_rolling("one two three four five six seven eight nine ten");
  ASSERT_EQ(windows.size(), static_cast<size_t>((n_tokens + 3) / 4));
  std::vector<int32_t> predicted;
  for (const EncodedPair& window : windows) {
    EXPECT_EQ(window.tokens.size(), 5u);
    EXPECT_EQ(window.targets, std::min<int64_t>(4, n_tokens - static_cast<int64_t>(predicted.size())));
    const std::vector<int32_t> targets = targets_of(window);
    predicted.insert(predicted.end(), targets.begin(), targets.end());
    if (&window != &windows.front()) {
      EXPECT_TRUE(std::equal(window.tokens.rbegin(), window.tokens.rend(), predicted.rbegin()));
    }
  }
  EXPECT_EQ(predicted, tokens);
  EXPECT_EQ(windows.front().tokens.front(), text::prefix_token_id(demo_tokenizer(), {}));
}

TEST(EncodeRolling, a_short_text_is_one_window) {
  const PromptEncoder encoder(demo_tokenizer(), {}, 512, 512);
  const std::vector<EncodedPair> windows = encoder.encode_rolling("one two");
  ASSERT_EQ(windows.size(), 1u);
  EXPECT_EQ(windows[0].tokens.size(), static_cast<size_t>(windows[0].targets) + 1);
}

TEST(EncodePrompt, leaves_room_for_the_new_tokens) {
  const PromptEncoder encoder(demo_tokenizer(), {}, 20, 20);
  const std::vector<int32_t> all = demo_tokenizer().encode("one two three four five six seven eight nine ten", true);
  ASSERT_GT(all.size(), 8u);
  const std::vector<int32_t> prompt = encoder.encode_prompt("one two three four five six seven eight nine ten", 12);
  EXPECT_EQ(prompt, std::vector<int32_t>(all.end() - 8, all.end()));
  EXPECT_THROW(encoder.encode_prompt("one", 20), Error);
}

TEST(PromptEncoder, refuses_what_a_model_computes_differently_when_it_is_long) {
  const PromptEncoder encoder(demo_tokenizer(), {}, 512, 6);
  EXPECT_NO_THROW(encoder.encode_prompt("a", 3));
  EXPECT_THROW(encoder.encode_prompt("a", 6), Error);
  EXPECT_THROW(encoder.encode_pair("a b c d e f g h i j k l m n o p q r s t u v", " w"), Error);
}

}  // namespace
}  // namespace evalmpi::eval

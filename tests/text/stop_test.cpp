#include "evalmpi/text/stop.h"

#include <gtest/gtest.h>

#include <random>

#include "evalmpi/base/json.h"

namespace evalmpi::text {
namespace {

const std::string kFixtures = EVALMPI_SOURCE_DIR "/tests/fixtures/text/tokenizers/";

// Feeds ids one by one: the settled text only grows, is always the beginning of what decode() gives in the end, and all
// but the last `max_held_bytes` of it are settled then.
void expect_stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip, size_t max_held_bytes) {
  const std::string whole = tokenizer.decode(ids, skip);
  TextStream stream(tokenizer, skip);
  std::string before;
  for (const int32_t id : ids) {
    stream.push(id);
    ASSERT_TRUE(stream.text().starts_with(before)) << stream.text() << " | " << before;
    ASSERT_TRUE(whole.starts_with(stream.text())) << "'" << stream.text() << "' of '" << whole << "'";
    before = stream.text();
  }
  EXPECT_EQ(stream.finish(), whole);
  EXPECT_LE(whole.size(), stream.text().size() + max_held_bytes) << whole;
  EXPECT_EQ(stream.ids(), ids);
}

TEST(TextStream, GivesWhatDecodeGives) {
  // Cleaning up holds back 64 bytes, an incomplete character becomes U+FFFD, and byte fallback waits for a run's end.
  const std::vector<std::pair<std::string, size_t>> kinds = {
      {"llama3_like", 67}, {"neox_like", 3}, {"llama2_like", 1'000}};
  for (const auto& [name, held] : kinds) {
    const Tokenizer tokenizer = Tokenizer::load(kFixtures + name);
    const Json expected = read_json_file(kFixtures + name + "/expected.json");
    ASSERT_GE(expected["rows"].size(), 100u);
    for (const Json& row : expected["rows"]) {
      const std::vector<int32_t> ids = tokenizer.encode(row["text"].get<std::string>(), true);
      expect_stream(tokenizer, ids, false, held);
      expect_stream(tokenizer, ids, true, held);
    }
    std::mt19937 draw(5);
    for (int i = 0; i < 400; ++i) {
      std::vector<int32_t> ids(draw() % 30);
      for (int32_t& id : ids) id = static_cast<int32_t>(draw() % static_cast<uint32_t>(tokenizer.size()));
      expect_stream(tokenizer, ids, i % 2 == 0, held);
    }
  }
}

// clean_up_tokenization_spaces removes spaces before punctuation that may come later.
TEST(TextStream, SettlesOnlyWhatCleaningUpCannotChange) {
  const Tokenizer tokenizer = Tokenizer::load(kFixtures + "llama3_like");
  const std::vector<std::string> pieces = {" ", " ", "'", ".", ",", "n't",  "n",  "t", "s",
                                           "v", "e", "r", "m", "?", "word", "\n", "a"};
  std::mt19937 draw(11);
  for (int i = 0; i < 2'000; ++i) {
    std::string text;
    for (size_t n = draw() % 60; n > 0; --n) text += pieces[draw() % pieces.size()];
    std::vector<int32_t> ids;
    for (const char c : text) {
      const std::vector<int32_t> one = tokenizer.encode(std::string(1, c), false);
      ids.insert(ids.end(), one.begin(), one.end());
    }
    expect_stream(tokenizer, ids, true, 67);
  }
}

TEST(TextStream, HoldsBackAnIncompleteCharacterOnly) {
  const Tokenizer tokenizer = Tokenizer::load(kFixtures + "neox_like");
  const std::vector<int32_t> ids = tokenizer.encode("ab\U0001F9FF", false);
  ASSERT_GE(ids.size(), 3u);
  TextStream stream(tokenizer, true);
  for (size_t i = 0; i + 1 < ids.size(); ++i) stream.push(ids[i]);
  EXPECT_EQ(stream.text(), "ab");
  EXPECT_EQ(stream.finish(), "ab\uFFFD");
  stream.push(ids.back());
  EXPECT_EQ(stream.text(), "ab\U0001F9FF");
}

TEST(StopFinder, FindsTheEarliestAcrossTokens) {
  StopFinder finder({"", "\n\n", "Question:", "Quest"});
  EXPECT_EQ(finder.find(""), std::nullopt);
  EXPECT_EQ(finder.find("The answer\n"), std::nullopt);
  EXPECT_EQ(finder.find("The answer\nQue"), std::nullopt);
  EXPECT_EQ(finder.find("The answer\nQuestion"), 11u);
  StopFinder across({"\n\n"});
  EXPECT_EQ(across.find("a\n"), std::nullopt);
  EXPECT_EQ(across.find("a\n\nb"), 1u);
  StopFinder none({});
  EXPECT_EQ(none.find("abc"), std::nullopt);
}

TEST(StopFinder, CutsAsTheHarness) {
  EXPECT_EQ(cut_at_stops("a b\n\nc Q: d", {"Q:", "\n\n", ""}), "a b");
  EXPECT_EQ(cut_at_stops("abc", {"x"}), "abc");
  EXPECT_EQ(cut_at_stops("abc", {"a"}), "");
}

}  // namespace
}  // namespace evalmpi::text

#include "evalmpi/text/unicode.h"

#include <gtest/gtest.h>

#include <set>

#include "evalmpi/base/json.h"

namespace evalmpi::text {
namespace {

TEST(Unicode, ReplacesInvalidBytesAsPython) {
  // bytes.decode("utf-8", errors="replace") of CPython 3.11; R is U+FFFD.
  const std::string r = "\xEF\xBF\xBD";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""},
      {"abc", "abc"},
      {"a\xff"
       "b",
       "a" + r + "b"},
      {"\x80\x80", r + r},
      {"\xc3", r},
      {"\xc3(", r + "("},
      {"\xe2\x82", r},
      {"\xe2\x82(", r + "("},
      {"\xe2(\x82", r + "(" + r},
      {"\xf0\x9f\x98", r},
      {"\xf0\x9f\x98 ", r + " "},
      {"\xed\xa0\x80", r + r + r},
      {"\xc0\xaf", r + r},
      {"\xf5\x80\x80\x80", r + r + r + r},
      {"\xf4\x90\x80\x80", r + r + r + r},
      {"\xe0\x80\x80", r + r + r},
      {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
  };
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(replace_invalid_utf8(bytes), text);
    EXPECT_EQ(is_valid_utf8(bytes), bytes == text);
  }
}

TEST(Unicode, FindsTheIncompleteTail) {
  EXPECT_EQ(incomplete_utf8_tail(""), 0u);
  EXPECT_EQ(incomplete_utf8_tail("abc"), 0u);
  EXPECT_EQ(incomplete_utf8_tail("a\xc3"), 1u);
  EXPECT_EQ(incomplete_utf8_tail("a\xc3\xa9"), 0u);
  EXPECT_EQ(incomplete_utf8_tail("\xf0\x9f\x98"), 3u);
  EXPECT_EQ(incomplete_utf8_tail("\xf0\x9f"), 2u);
  EXPECT_EQ(incomplete_utf8_tail("\xed\xa0"), 0u);  // a surrogate can never be completed
  EXPECT_EQ(incomplete_utf8_tail("\xff"), 0u);
  EXPECT_EQ(incomplete_utf8_tail("\x80\x80\x80\x80"), 0u);
}

TEST(Unicode, CodePointsGoThereAndBack) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(&text, c);
    size_t position = 0;
    ASSERT_EQ(next_code_point(text, &position), c);
    ASSERT_EQ(position, text.size());
    ASSERT_TRUE(is_valid_utf8(text));
    ASSERT_EQ(code_point_count(text), 1u);
  }
}

TEST(Unicode, Normalizes) {
  EXPECT_EQ(normalize("plain", NormalForm::kNfc), "plain");
  EXPECT_EQ(normalize("e\u0301 x", NormalForm::kNfc), "\u00e9 x");
  EXPECT_EQ(normalize("xe\u0301", NormalForm::kNfc), "x\u00e9");
  EXPECT_EQ(normalize("\u00e9", NormalForm::kNfd), "e\u0301");
  EXPECT_EQ(normalize("a\u0323\u0307", NormalForm::kNfc), normalize("a\u0307\u0323", NormalForm::kNfc));
  EXPECT_EQ(normalize("\ufb01\u00b2", NormalForm::kNfkc), "fi2");
  EXPECT_EQ(normalize("\u1100\u1161\u11a8", NormalForm::kNfc), "\uac01");
  EXPECT_EQ(normalize(std::string("a\0b", 3) + "\u0301", NormalForm::kNfc), std::string("a\0b", 3) + "\u0301");
}

TEST(Unicode, ClassesAreThoseOfTheReference) {
  const Json classes = read_json_file(EVALMPI_SOURCE_DIR "/tests/fixtures/text/unicode_classes.json");
  const std::vector<std::pair<const char*, bool (*)(char32_t)>> pairs = {
      {"\\p{L}", is_letter}, {"\\p{N}", is_number},   {"\\p{P}", is_punctuation},
      {"\\p{M}", is_mark},   {"\\s", is_white_space},
  };
  for (const auto& [name, predicate] : pairs) {
    std::vector<bool> expected(0x110000);
    const auto ranges = classes["onig"][name].get<std::vector<size_t>>();
    for (size_t i = 0; i < ranges.size(); i += 2)
      std::fill_n(expected.begin() + static_cast<ptrdiff_t>(ranges[i]), ranges[i + 1] - ranges[i] + 1, true);
    size_t wrong = 0;
    for (char32_t c = 0; c < 0x110000; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      if (predicate(c) != expected[c] && ++wrong < 5)
        ADD_FAILURE() << name << " U+" << std::hex << static_cast<uint32_t>(c);
    }
    EXPECT_EQ(wrong, 0u) << name;
  }
  const auto spaces = classes["python_isspace"].get<std::set<char32_t>>();
  for (char32_t c = 0; c < 0x110000; ++c)
    ASSERT_EQ(is_python_space(c), spaces.count(c) == 1) << static_cast<uint32_t>(c);
}

}  // namespace
}  // namespace evalmpi::text

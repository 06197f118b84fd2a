#include "evalmpi/text/regex.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <thread>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"
#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

const Json& fixture(const char* name) {
  static std::map<std::string, Json> cache;
  auto [entry, fresh] = cache.try_emplace(name);
  if (fresh) entry->second = read_json_file(std::string(EVALMPI_SOURCE_DIR "/tests/fixtures/text/") + name);
  return entry->second;
}

std::vector<std::vector<int64_t>> spans(const RegexMatch& match) {
  std::vector<std::vector<int64_t>> out;
  for (const ByteRange& group : match.groups)
    out.push_back({static_cast<int64_t>(group.begin), static_cast<int64_t>(group.end)});
  return out;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput) << error.what();
    return error.what();
  }
  return "";
}

TEST(Regex, FindsWhatPythonFinds) {
  for (const Json& row : fixture("regex_python.json")["cases"]) {
    const auto pattern = row["pattern"].get<std::string>();
    const auto text = row["text"].get<std::string>();
    SCOPED_TRACE("pattern '" + pattern + "' on '" + text + "'");
    const Regex regex = Regex::compile(pattern, "test");
    const std::vector<RegexMatch> matches = regex.find_all(text);
    std::vector<std::vector<std::vector<int64_t>>> found;
    for (const RegexMatch& match : matches) found.push_back(spans(match));
    EXPECT_EQ(Json(found), row["matches"]);
    const std::optional<RegexMatch> first = regex.search(text);
    ASSERT_EQ(first.has_value(), !matches.empty());
    EXPECT_TRUE(!first || first->groups == matches[0].groups);
    EXPECT_EQ(regex.match(text).has_value(), row["match"].get<bool>());
    EXPECT_EQ(regex.full_match(text).has_value(), row["fullmatch"].get<bool>());
    EXPECT_EQ(Json(regex.split(text)), row["split"]);
    const Json& replacements = fixture("regex_python.json")["replacements"];
    for (size_t i = 0; i < replacements.size(); ++i)
      EXPECT_EQ(regex.replace_all(text, replacements[i].get<std::string>()), row["subs"][i].get<std::string>());
  }
}

TEST(Regex, ReplacesGroupsAsPython) {
  for (const Json& row : fixture("regex_python.json")["group_subs"]) {
    const Regex regex = Regex::compile(row["pattern"].get<std::string>(), "test");
    EXPECT_EQ(regex.replace_all(row["text"].get<std::string>(), row["replacement"].get<std::string>()),
              row["result"].get<std::string>());
  }
  const Regex regex = Regex::compile("(a)", "test");
  for (const char* bad : {"\\2", "\\g<2>", "\\g<x>", "\\g", "\\q", "\\"})
    EXPECT_NE(message_of([&] { regex.replace_all("a", bad); }), "") << bad;
}

TEST(Regex, RefusesWhatPythonRefuses) {
  for (const Json& pattern : fixture("regex_python.json")["bad"]) {
    const std::string message = message_of([&] { Regex::compile(pattern.get<std::string>(), "task.yaml: filter"); });
    EXPECT_NE(message.find("task.yaml: filter"), std::string::npos) << pattern << message;
    EXPECT_NE(message.find("at byte"), std::string::npos) << pattern << message;
  }
}

TEST(Regex, EscapesAsPython) {
  for (const Json& pair : fixture("regex_python.json")["escaped"])
    EXPECT_EQ(escape_regex(pair[0].get<std::string>()), pair[1].get<std::string>());
}

TEST(Regex, NamesGroups) {
  const Regex regex = Regex::compile(R"((\d)(?P<word>\w))", "test");
  EXPECT_EQ(regex.group_count(), 2u);
  EXPECT_EQ(regex.group_index("word"), 2u);
  EXPECT_EQ(regex.group_index("none"), std::nullopt);
}

TEST(Regex, PointsAtTheByteOfTheOriginalPattern) {
  EXPECT_NE(message_of([] { Regex::compile(R"(\s\s\s[z-a])", "p"); }).find("at byte 9"), std::string::npos);
}

TEST(Regex, EndsCatastrophicPatternsWithAnError) {
  const std::string long_text(200'000, 'a');
  for (const char* pattern :
       {"(a+)+$", "(a|aa)+$", "(?:a|a)*b", "(a*)*b", "(?:a?){50}a{50}b", "(.*)(.*)(.*)(.*)(.*)xx"}) {
    const Regex regex = Regex::compile(pattern, "hostile.yaml");
    const std::string message = message_of([&] { regex.find_all(long_text + "!bx"); });
    EXPECT_NE(message.find("hostile.yaml"), std::string::npos) << pattern;
  }
  EXPECT_NE(message_of([] { Regex::compile(std::string(100'000, 'a'), "hostile.yaml"); }), "");
  EXPECT_NE(message_of([] { Regex::compile(std::string(5'000, '(') + std::string(5'000, ')'), "hostile.yaml"); }), "");
}

TEST(Regex, RefusesInvalidUtf8) {
  const Regex regex = Regex::compile("a", "test");
  EXPECT_NE(message_of([&] { regex.search("a\xff"); }), "");
  EXPECT_NE(message_of([] { Regex::compile("a\xff", "test"); }), "");
}

TEST(Regex, FindsFarAway) {
  const std::string far = std::string(300'000, 'b') + "\xC3\xA9" + "a";
  const Regex regex = Regex::compile("(?<=\\u00e9)a", "test");
  ASSERT_TRUE(regex.search(far));
  EXPECT_EQ(regex.search(far)->whole().begin, 300'002u);
  EXPECT_EQ(regex.find_all(far).size(), 1u);
}

TEST(Regex, MatchesOnManyThreads) {
  const Regex regex = Regex::compile(R"((\w+)@(\w+))", "test");
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1'000; ++i) good += regex.find_all("a@b c@d  e@f").size() == 3;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 4'000);
}

TEST(OnigurumaRegex, HasTheReferencesClasses) {
  std::string all;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c > 0xDFFF) append_utf8(&all, c);
  }
  for (const auto& [pattern, ranges] : fixture("unicode_classes.json")["onig"].items()) {
    const std::string name = pattern;
    for (const std::string& form : {name, "[" + name + "]", "[#" + name + "]"}) {
      const Regex regex = Regex::compile("(?:" + form + ")+", "test", RegexDialect::kOniguruma);
      std::vector<int64_t> found;
      RegexScan scan(regex, all);
      for (ByteRange run; scan.next(&run);) {
        size_t at = run.begin;
        const char32_t first = next_code_point(all, &at);
        char32_t last = first;
        while (at < run.end) {
          const char32_t c = next_code_point(all, &at);
          if (c != last + 1) {  // the gap of the surrogates
            found.insert(found.end(), {first, last});
          }
          last = c;
        }
        found.insert(found.end(), {first, last});
      }
      std::vector<int64_t> expected = ranges.get<std::vector<int64_t>>();
      if (form[1] == '#') {
        const auto at = std::find_if(expected.begin(), expected.end(), [](int64_t c) { return c > '#'; });
        if (name != "\\p{P}") expected.insert(at, 2, '#');
      }
      EXPECT_EQ(found, expected) << form;
    }
  }
}

TEST(OnigurumaRegex, ReadsRubySyntax) {
  const auto count = [](const char* pattern, const char* text) {
    return Regex::compile(pattern, "test", RegexDialect::kOniguruma).find_all(text).size();
  };
  EXPECT_EQ(count("^a$", "a\na\nb"), 2u);
  EXPECT_EQ(count("\\h+", "xyz0Fz"), 1u);
  EXPECT_EQ(count("(?m)a.b", "a\nb"), 1u);
  EXPECT_EQ(count("a.b", "a\nb"), 0u);
  EXPECT_EQ(count("(?i:'s|'t)", "'S'T'u"), 2u);
  EXPECT_NE(message_of([&] { count("[a&&b]", ""); }), "");
  EXPECT_EQ(count("[a[bc]]", "abcd"), 3u);
}

TEST(RegexScan, SkipsAnEmptyMatchBehindAMatch) {
  const Regex regex = Regex::compile("x*", "test", RegexDialect::kOniguruma);
  RegexScan scan(regex, "axb");
  std::vector<ByteRange> found;
  for (ByteRange range; scan.next(&range);) found.push_back(range);
  EXPECT_EQ(found, (std::vector<ByteRange>{{0, 0}, {1, 2}, {3, 3}}));
}

}  // namespace
}  // namespace evalmpi::text

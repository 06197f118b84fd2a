// Filters and metrics on hand-made answers.

#include <gtest/gtest.h>

#include "evalmpi/base/error.h"
#include "evalmpi/task/filter.h"
#include "evalmpi/task/metric.h"

namespace evalmpi::task {
namespace {

Json filtered(const std::vector<FilterStep>& steps, const std::vector<Json>& responses, const Json& document = {}) {
  return FilterPipeline({"f", steps}, "t.yaml").apply(responses, document);
}

TEST(Filter, RegexTakesWhatFindallFinds) {
  const Json numbers = {{"regex_pattern", R"((-?[$0-9.,]{2,})|(-?[0-9]+))"}, {"group_select", -1}};
  EXPECT_EQ(filtered({{"regex", numbers}, {"take_first", {}}}, {"3 pens cost $4.50 or 7"}), "7");
  EXPECT_EQ(filtered({{"regex", numbers}, {"take_first", {}}}, {"none"}), "[invalid]");
  EXPECT_EQ(filtered({{"regex", Json::object()}, {"take_first", {}}}, {"#### 1,234 "}), "1,234");
  EXPECT_EQ(filtered({{"regex", {{"regex_pattern", "a(b*)"}}}}, {"xab", "a", 3}), (Json{"b", "", "[invalid]"}));
}

TEST(Filter, SelectionOfRepeats) {
  EXPECT_EQ(filtered({{"majority_vote", {}}, {"take_first", {}}}, {"b", "a", "a", "b", "c"}), "b");
  EXPECT_EQ(filtered({{"take_first_k", {{"k", 2}}}}, {"a", "b", "c"}), (Json{"a", "b"}));
  EXPECT_THROW(filtered({{"take_first_k", {{"k", 4}}}}, {"a"}), Error);
}

TEST(Filter, TextSteps) {
  EXPECT_EQ(filtered({{"remove_whitespace", {}}, {"uppercase", {}}, {"take_first", {}}}, {" stra\u00dfe\u3000"}),
            "STRASSE");
  const Json mapping = {{"mapping_dict", {{"a", 1}}}, {"default_value", 0}};
  EXPECT_EQ(filtered({{"lowercase", {}}, {"map", mapping}}, {"A", "B"}), (Json{1, 0}));
}

TEST(Filter, MultiChoiceFallsBackToTheChoicesThenToAColon) {
  const Json document = {{"choices", {"Guilty", "Guilty of Romance", "Not."}}};
  const std::vector<FilterStep> steps = {
      {"multi_choice_regex",
       {{"regex_pattern", R"((\([A-Z]\)))"}, {"ignore_case", true}, {"ignore_punctuation", true}}},
      {"take_first", {}}};
  EXPECT_EQ(filtered(steps, {"It is (C)."}, document), "(C)");
  EXPECT_EQ(filtered(steps, {"surely GUILTY of romance!"}, document), "(B)");
  EXPECT_EQ(filtered(steps, {"Answer: A"}, document), "(A)");
  EXPECT_EQ(filtered(steps, {"who knows"}, document), "[invalid]");
}

// Answers of the harness's SPANFilter and POSFilter.
TEST(Filter, TaggedWords) {
  const std::vector<std::pair<const char*, const char*>> spans = {
      {"person: Ann, Bob $$ place: none", "per: ann $ per: bob"},
      {"Organization : ACME\nlocation: Oslo, none , Rome", "org: acme $ loc: oslo $ loc: rome"},
      {"DATE: 1 May$$$$", "date: 1 may"},
      {"persons : x: y, z$per: q", "per: x: y $ per: z $ per: q"},
      {"nothing here", ""},
      {"time:5 $ LOC: a,,b", "date: 5 $ loc: a $ loc:  $ loc: b"}};
  for (const auto& [response, expected] : spans) {
    EXPECT_EQ(filtered({{"format_span", {}}, {"take_first", {}}}, {response}), expected);
  }
  EXPECT_EQ(filtered({{"regex_pos", Json::object()}},
                     {"[('a', 'NOUN'), ('b', 'VERB')]", "none", "('x', '')  ('it''s', 'X') ('a','B') ('c', 'D E')"}),
            Json::parse(R"([["NOUN", "VERB"], ["invalid"], ["", "D E"]])"));
}

TEST(Filter, RefusesWhatItDoesNotKnow) {
  EXPECT_THROW(filtered({{"custom", {}}}, {"a"}), Error);
  EXPECT_THROW(filtered({{"regex", {{"pattern", "a"}}}}, {"a"}), Error);
  EXPECT_THROW(filtered({{"regex", {{"regex_pattern", "("}}}}, {"a"}), Error);
  EXPECT_THROW(filtered({{"take_first", {}}, {"lowercase", {}}}, {"a"}), Error);
}

TEST(ExactMatch, ChangesBothSidesInOrder) {
  const ExactMatch match({{"regexes_to_ignore", {",", "\\$", "(?s).*#### ", "\\.$"}}, {"ignore_case", true}}, "t");
  EXPECT_TRUE(match.equal("$1,234.", "work\nwork\n#### 1234"));
  EXPECT_FALSE(match.equal("1234.5", "12345"));
  EXPECT_TRUE(ExactMatch({{"ignore_punctuation", true}, {"ignore_numbers", true}}, "t").equal("a-1b!", "ab22"));
  EXPECT_FALSE(ExactMatch(Json::object(), "t").equal("A", "a"));
  EXPECT_THROW(ExactMatch({{"ignore_spaces", true}}, "t"), Error);
}

std::vector<MetricConfig> metrics(const std::vector<std::string>& names) {
  std::vector<MetricConfig> list;
  for (const std::string& name : names) list.push_back({name, "mean", true, Json::object()});
  return list;
}

TEST(MultipleChoice, LengthsAreCodePointsOrBytes) {
  // Per code point -2, -1.5, -1; per byte -2/2, -1.5/3, -1: three different winners.
  ChoiceScores scores = {{"\u00e9", "\u65e5\u672c", "ab"}, {-2.0, -3.0, -2.25}, {false, true, false}, {}, 0};
  const auto values = multiple_choice_metrics(metrics({"acc", "acc_norm", "acc_bytes", "exact_match"}), scores);
  EXPECT_EQ(values[0].second, Json(1.0));
  EXPECT_EQ(values[1].second, Json(0.0));
  scores.gold = 2;
  EXPECT_EQ(multiple_choice_metrics(metrics({"acc_norm"}), scores)[0].second, Json(1.0));
  scores.gold = 1;
  EXPECT_EQ(multiple_choice_metrics(metrics({"acc_bytes"}), scores)[0].second, Json(1.0));
  EXPECT_EQ(multiple_choice_metrics(metrics({"exact_match"}), scores)[0].second, Json(1));
}

TEST(MultipleChoice, TiesAndGoldOutsideTheChoices) {
  ChoiceScores scores = {{"a", "b"}, {-1.0, -1.0}, {true, true}, {}, 0};
  EXPECT_EQ(multiple_choice_metrics(metrics({"acc"}), scores)[0].second, Json(1.0));
  scores.gold = 2;
  EXPECT_EQ(multiple_choice_metrics(metrics({"acc"}), scores)[0].second, Json(0.0));
  scores.gold = "b";
  EXPECT_EQ(multiple_choice_metrics(metrics({"acc"}), scores)[0].second, Json(0.0));
  scores.gold = Json{1, 0};
  EXPECT_EQ(multiple_choice_metrics(metrics({"acc"}), scores)[0].second, Json(1.0));
}

TEST(Rolling, WordsArePiecesBetweenSpace) {
  const auto values = rolling_metrics(metrics({"word_perplexity", "byte_perplexity"}), -8, " a\u00e9  b\n");
  EXPECT_EQ(values[0].second, (Json{-8.0, 4}));
  EXPECT_EQ(values[1].second, (Json{-8.0, 8}));
}

}  // namespace
}  // namespace evalmpi::task

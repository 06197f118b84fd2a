#include "line_settings.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "evalmpi/base/error.h"

namespace evalmpi::eval {
namespace {

const text::Tokenizer& tokenizer() {
  static const text::Tokenizer loaded =
      text::Tokenizer::load(std::filesystem::path(EVALMPI_SOURCE_DIR) / "configs/demo/model");
  return loaded;
}

LineSettings settings(const char* json) {
  LineSettings read;
  const Json object = Json::parse(json);
  for (const auto& [key, value] : object.items()) set_setting(read, key, value);
  return read;
}

GenerationPlan plan(const char* json, const char* generation_config = "{}", uint64_t seed = 0) {
  model::ModelSpec spec;
  spec.eos_ids = {5};
  spec.vocab = 401;
  spec.generation_config = Json::parse(generation_config);
  return plan_line(settings(json), spec, tokenizer(), seed);
}

TEST(LineSettings, the_line_beats_the_command) {
  const LineSettings both = merged(settings(R"({"temperature": 1, "stop": []})"),
                                   settings(R"({"temperature": 2, "top_p": 0.5, "stop": "x"})"));
  EXPECT_EQ(both.temperature, 1);
  EXPECT_EQ(both.top_p, 0.5);
  EXPECT_EQ(both.stop, std::vector<std::string>{});
}

TEST(LineSettings, group_what_may_share_a_chunk) {
  EXPECT_EQ(group_key(settings(R"({"max_tokens": 3, "seed": 1})")),
            group_key(settings(R"({"max_tokens": 9, "seed": 2, "n": 1})")));
  for (const char* other : {R"({"seed": 1})", R"({"temperature": 1})", R"({"n": 2})", R"({"stop": "a"})",
                            R"({"ignore_eos": true})", R"({"top_k": 1})"}) {
    EXPECT_NE(group_key(settings("{}")), group_key(settings(other))) << other;
  }
}

TEST(LineSettings, temperature_0_takes_the_most_probable_tokens) {
  EXPECT_FALSE(plan("{}").settings.is_sampling);
  EXPECT_FALSE(plan(R"({"temperature": 0, "top_p": 0.5})").settings.is_sampling);
  EXPECT_FALSE(plan(R"({"temperature": 1, "do_sample": false})", R"({"do_sample": true})").settings.is_sampling);
  EXPECT_THROW(plan(R"({"n": 2})"), Error);
  EXPECT_THROW(plan(R"({"do_sample": true})"), Error);
}

TEST(LineSettings, what_nobody_says_is_off) {
  const GenerationPlan drawn = plan(R"({"temperature": 0.7, "n": 3})", "{}", 9);
  EXPECT_TRUE(drawn.settings.is_sampling);
  EXPECT_EQ(drawn.settings.temperature, 0.7f);
  EXPECT_EQ(drawn.settings.top_k, 0);
  EXPECT_EQ(drawn.settings.top_p, 1);
  EXPECT_EQ(drawn.settings.seed, 9u);
  EXPECT_EQ(drawn.draws, 3);
  EXPECT_EQ(plan(R"({"temperature": 1})", R"({"top_k": 20, "top_p": 0.8})").settings.top_k, 20);
  EXPECT_EQ(plan(R"({"temperature": 1, "top_k": 0})", R"({"top_k": 20})").settings.top_k, 0);
}

TEST(LineSettings, ends_of_answers) {
  const GenerationPlan stopped = plan(R"({"stop": ["a", ""], "stop_token_ids": [7]})");
  EXPECT_EQ(stopped.until, std::vector<std::string>{"a"}) << "the end token's text is no stop";
  EXPECT_EQ(stopped.settings.stop, R"(["a"])");
  EXPECT_EQ(stopped.settings.eos_ids, (std::vector<int32_t>{5, 7}));
  EXPECT_TRUE(plan(R"({"ignore_eos": true})").settings.eos_ids.empty());
  EXPECT_THROW(plan(R"({"stop_token_ids": [401]})"), Error);
}

TEST(LineSettings, what_is_not_computed_must_be_neutral) {
  for (const char* neutral : {R"({"tools": null})", R"({"response_format": {"type": "text"}})",
                              R"({"logprobs": false})", R"({"min_tokens": 0})", R"({"skip_special_tokens": true})",
                              R"({"user": "x"})", R"({"presence_penalty": 0.0})"}) {
    EXPECT_NO_THROW(settings(neutral)) << neutral;
  }
  for (const char* wanted : {R"({"tools": [{}]})", R"({"response_format": {"type": "json_object"}})",
                             R"({"logprobs": 1})", R"({"min_tokens": 2})", R"({"skip_special_tokens": false})",
                             R"({"best_of": 2})", R"({"frequency_penalty": -0.5})"}) {
    EXPECT_THROW(settings(wanted), Error) << wanted;
  }
}

}  // namespace
}  // namespace evalmpi::eval

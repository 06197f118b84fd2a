#include "generation.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <tuple>

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"

namespace evalmpi::eval {
namespace {

const text::Tokenizer& tokenizer() {
  static const text::Tokenizer loaded =
      text::Tokenizer::load(std::filesystem::path(EVALMPI_SOURCE_DIR) / "configs/demo/model");
  return loaded;
}

model::ModelSpec spec_with(const char* generation_config) {
  model::ModelSpec spec;
  spec.eos_ids = {5, 7};
  if (generation_config != nullptr) spec.generation_config = Json::parse(generation_config);
  return spec;
}

GenerationPlan plan(const char* kwargs, const char* generation_config = nullptr) {
  return plan_generation(Json::parse(kwargs), spec_with(generation_config), tokenizer(), "task t");
}

TEST(PlanGeneration, takes_the_length_by_the_harness_s_priority) {
  EXPECT_EQ(plan("{}").max_new_tokens, 256);
  EXPECT_EQ(plan(R"({"max_tokens": 3, "max_gen_toks": 9, "max_new_tokens": 4})").max_new_tokens, 9);
  EXPECT_EQ(plan(R"({"max_completion_tokens": 11})").max_new_tokens, 11);
  EXPECT_EQ(plan("{}", R"({"max_new_tokens": 17})").max_new_tokens, 17);
  EXPECT_THROW(plan(R"({"max_gen_toks": 0})"), Error);
  EXPECT_THROW(plan(R"({"max_gen_toks": "many"})"), Error);
}

TEST(PlanGeneration, stops_at_the_task_s_texts_and_at_the_end_token) {
  const std::string eos = tokenizer().decode(std::vector<int32_t>{*tokenizer().eos_id()}, false);
  EXPECT_EQ(plan(R"({"until": ["\n", "Q:"]})").until, (std::vector<std::string>{"\n", "Q:", eos}));
  EXPECT_EQ(plan(R"({"until": "x"})").until, (std::vector<std::string>{"x", eos}));
  EXPECT_EQ(plan("{}").settings.eos_ids, (std::vector<int32_t>{5, 7}));
}

TEST(PlanGeneration, the_model_s_penalties_hold_unless_the_task_has_its_own) {
  EXPECT_EQ(plan("{}", R"({"repetition_penalty": 1.5})").settings.repetition_penalty, 1.5f);
  EXPECT_EQ(plan(R"({"repetition_penalty": 1.25})", R"({"repetition_penalty": 1.5})").settings.repetition_penalty,
            1.25f);
  EXPECT_EQ(plan("{}", R"({"no_repeat_ngram_size": 3})").settings.no_repeat_ngram_size, 3);
}

TEST(PlanGeneration, refuses_what_would_change_the_text_and_is_not_built) {
  for (const char* kwargs : {R"({"num_beams": 4})", R"({"bad_words_ids": [[1]]})", R"({"min_new_tokens": 1})",
                             R"({"max_length": 100})", R"({"num_return_sequences": 2})", R"({"do_sample": true})",
                             R"({"do_sample": "yes"})", R"({"temperature": 1, "top_p": 1.5})",
                             R"({"temperature": -1, "do_sample": true})", R"({"temperature": 1, "top_k": -1})",
                             R"({"temperature": 1, "typical_p": 0.9})", R"({"temperature": 1, "min_p": "x"})"}) {
    try {
      plan(kwargs);
      ADD_FAILURE() << kwargs;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadInput);
      EXPECT_NE(std::string(error.what()).find("task t"), std::string::npos) << error.what();
    }
  }
  // Sampling settings of the model do not matter to greedy text, which the harness asks for.
  EXPECT_FALSE(
      plan(R"({"do_sample": false, "temperature": 0.0})", R"({"do_sample": true, "temperature": 0.6, "top_p": 0.9})")
          .settings.is_sampling);
  EXPECT_FALSE(plan(R"({"do_sample": false, "temperature": 0.7})").settings.is_sampling);
}

TEST(PlanGeneration, samples_with_the_task_s_values_then_the_model_s_then_the_defaults) {
  const engine::GenerationSettings plain = plan(R"({"temperature": 0.5})").settings;
  EXPECT_TRUE(plain.is_sampling);
  EXPECT_EQ(std::tuple(plain.temperature, plain.top_k, plain.top_p, plain.min_p), std::tuple(0.5f, 50, 1.0f, 0.0f));
  const char* of_model = R"({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.25})";
  const engine::GenerationSettings mixed =
      plan(R"({"do_sample": true, "temperature": 1, "top_k": null, "min_p": 0.125})", of_model).settings;
  EXPECT_EQ(std::tuple(mixed.temperature, mixed.top_k, mixed.top_p, mixed.min_p), std::tuple(1.0f, 0, 0.9f, 0.125f));
}

TEST(PlanGeneration, the_seed_and_the_settings_are_part_of_the_identity_where_tokens_are_drawn) {
  const auto digest = [](const char* kwargs, uint64_t seed) {
    return plan_generation(Json::parse(kwargs), spec_with(nullptr), tokenizer(), "task t", {4, seed}).digest(8);
  };
  EXPECT_EQ(digest("{}", 1), digest("{}", 2));
  EXPECT_EQ(digest(R"({"temperature": 1})", 1), digest(R"({"temperature": 1})", 1));
  EXPECT_NE(digest(R"({"temperature": 1})", 1), digest(R"({"temperature": 1})", 2));
  EXPECT_NE(digest(R"({"temperature": 1})", 1), digest(R"({"temperature": 1, "top_p": 0.5})", 1));
  EXPECT_NE(digest(R"({"temperature": 1})", 1), digest("{}", 1));
  const auto draws = [](const char* kwargs) {
    return plan_generation(Json::parse(kwargs), spec_with(nullptr), tokenizer(), "task t", {4, 1}).draws;
  };
  EXPECT_EQ(draws("{}"), 1) << "greedy repeats are equal";
  EXPECT_EQ(draws(R"({"temperature": 1})"), 4);
}

TEST(PlanGeneration, slots_are_bounded_by_the_longest_sequences) {
  GenerationPlan bounded;
  bounded.max_new_tokens = 64;
  bounded.room = {.most_slots = 16, .positions = 10'000};
  EXPECT_EQ(bounded.slots_for(936), 10);
  EXPECT_EQ(bounded.slots_for(1'000'000), 1);
  EXPECT_EQ(bounded.slots_for(16), 16);
}

TEST(GeneratedText, is_cut_at_each_stop_in_turn) {
  const std::vector<int32_t> tokens = tokenizer().encode("one two three", false);
  const std::string text = tokenizer().decode(tokens, true);
  GenerationPlan plan;
  plan.until = {"", "none"};
  EXPECT_EQ(generated_text(tokenizer(), tokens, plan), text);
  plan.until = {" three", " two"};
  EXPECT_EQ(generated_text(tokenizer(), tokens, plan), text.substr(0, text.find(" two")));
}

TEST(GeneratedText, begins_after_the_thinking) {
  const std::vector<int32_t> tokens = tokenizer().encode("so ## hmm ##  two ## three four", false);
  const auto text = [&](const std::string& think_end, std::vector<std::string> until = {}) {
    GenerationPlan plan;
    plan.think_end = think_end;
    plan.until = std::move(until);
    return generated_text(tokenizer(), tokens, plan);
  };
  EXPECT_EQ(text("hmm ##"), "two ## three four");
  EXPECT_EQ(text("##"), "three four");
  EXPECT_EQ(text("##", {" four", "so"}), "three") << "stops count in the answer only";
  EXPECT_EQ(text("</think>"), "so ## hmm ##  two ## three four") << "no end: all of it";
  const int32_t last = tokens[tokens.size() - 2];
  EXPECT_EQ(text(std::to_string(last)), text::python::lstrip(tokenizer().decode(std::vector{tokens.back()}, true)));
}

TEST(StopStrings, are_seen_when_they_span_tokens) {
  engine::GenerationSettings settings;
  settings.stop = Json::array({"two three"}).dump();
  const engine::StopCheck check = stop_strings(tokenizer())(settings, {});
  const std::vector<int32_t> tokens = tokenizer().encode("one two three four", false);
  std::vector<int32_t> seen;
  for (const int32_t token : tokens) {
    seen.push_back(token);
    const bool is_there = tokenizer().decode(seen, false).find("two three") != std::string::npos;
    EXPECT_EQ(check(token), is_there);
    if (is_there) return;
  }
  FAIL() << "never stopped";
}

}  // namespace
}  // namespace evalmpi::eval

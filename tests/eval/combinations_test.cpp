#include "evalmpi/eval/combinations.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "error_code.h"
#include "temporary_directory.h"

namespace evalmpi::eval {
namespace {

JobOptions job_of(std::vector<std::string> models, std::vector<std::string> adapters = {},
                  std::vector<std::string> shots = {}) {
  JobOptions job;
  job.each.tasks = {"t"};
  job.models = std::move(models);
  job.adapters = std::move(adapters);
  job.shots = std::move(shots);
  return job;
}

std::vector<std::string> names_of(const JobOptions& job) {
  std::vector<std::string> names;
  for (const Combination& combination : combinations(job)) names.push_back(combination.name);
  return names;
}

void set(JobOptions& job, const std::string& name, const std::string& text) {
  for (Field& field : fields(job)) {
    if (field.name == name) return field.set(text);
  }
  FAIL() << name;
}

using Names = std::vector<std::string>;

TEST(Combinations, one_is_what_was_asked) {
  JobOptions job = job_of({"org/llama"});
  job.each.output = "out";
  const std::vector<Combination> all = combinations(job);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].name, "llama");
  EXPECT_EQ(all[0].options.model, "org/llama");
  EXPECT_EQ(all[0].options.adapter, "");
  EXPECT_EQ(all[0].options.num_fewshot, std::nullopt);
  EXPECT_EQ(all[0].options.output, "out");
}

TEST(Combinations, are_every_choice_once_in_a_fixed_order) {
  const JobOptions job = job_of({"a", "b"}, {"none", "runs/lora"}, {"0", "few_shot_5", "zero-shot"});
  EXPECT_EQ(names_of(job), (Names{"a_0shot", "a_5shot", "a+lora_0shot", "a+lora_5shot", "b_0shot", "b_5shot",
                                  "b+lora_0shot", "b+lora_5shot"}));
  const Combination last = combinations(job).back();
  EXPECT_EQ(last.options.model, "b");
  EXPECT_EQ(last.options.adapter, "runs/lora");
  EXPECT_EQ(last.options.num_fewshot, 5);
}

TEST(Combinations, names_take_as_many_parts_as_tell_them_apart) {
  EXPECT_EQ(names_of(job_of({"runs/a/checkpoint-5/", "runs/b/checkpoint-5", "c"})),
            (Names{"a_checkpoint-5", "b_checkpoint-5", "c"}));
  EXPECT_EQ(names_of(job_of({"x", "y/x"})), (Names{"x", "y_x"}));
  EXPECT_EQ(names_of(job_of({"/", "../..", "a b:c", "a b;c"})), (Names{"model_1", "up", "a-b-c_3", "a-b-c_4"}));
}

TEST(Combinations, lists_come_from_commas_and_repetition) {
  JobOptions job = job_of({});
  set(job, "models", "a,b");
  set(job, "model", "b");
  set(job, "model", "c");
  EXPECT_EQ(job.models, (Names{"a", "b", "c"}));
  const TemporaryDirectory folder;
  const std::string with_comma = folder / "x,y";
  std::filesystem::create_directory(with_comma);
  set(job, "adapter", with_comma);
  set(job, "adapter", "none");
  EXPECT_EQ(job.adapters, (Names{with_comma, "none"}));
  set(job, "prompts", "zero_shot,one_shot,few_shot_12");
  std::vector<int> shots;
  job.adapters.clear();
  job.models = {"a"};
  for (const Combination& combination : combinations(job)) shots.push_back(*combination.options.num_fewshot);
  EXPECT_EQ(shots, (std::vector<int>{0, 1, 12}));
}

TEST(Combinations, refuses_what_is_none) {
  for (const char* bad : {"-1", "x", "few_shot_", "few_shot_x", "1.5", "99999999999"}) {
    EXPECT_EQ(code_of([&] { combinations(job_of({"m"}, {}, {"0", bad})); }), ExitCode::kUsage) << bad;
  }
  EXPECT_EQ(code_of([&] { combinations(job_of({})); }), ExitCode::kUsage);
  std::vector<std::string> shots;
  for (int i = 0; i < 20'000; ++i) shots.push_back(std::to_string(i));
  EXPECT_EQ(code_of([&] { combinations(job_of({"a"}, {}, shots)); }), ExitCode::kUsage);
}

}  // namespace
}  // namespace evalmpi::eval

// Paired comparisons against closed forms, on samples as lm-evaluation-harness writes them.

#include "evalmpi/eval/compare_runs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "error_code.h"
#include "temporary_directory.h"

namespace evalmpi::eval {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTime = "2026-01-02T03-04-05.678901";

// One document of a multiple-choice task: right or wrong, and the log-likelihood of its first choice.
Json sample(int doc_id, double acc, double loglikelihood = -1.5) {
  return {{"doc_id", doc_id},
          {"filter", "none"},
          {"filtered_resps",
           Json::array({Json::array({fmt::format("{}", loglikelihood), "False"}), Json::array({"-2.25", "True"})})},
          {"metrics", {"acc"}},
          {"doc_hash", fmt::format("document {}", doc_id)},
          {"prompt_hash", "prompt"},
          {"acc", acc}};
}

void write(const fs::path& folder, const std::string& task, const std::vector<Json>& samples,
           const char* time = kTime) {
  fs::create_directories(folder);
  std::ofstream file(folder / fmt::format("samples_{}_{}.jsonl", task, time));
  for (const Json& line : samples) file << line.dump() << "\n";
}

TEST(McNemar, IsTheBinomialTest) {
  EXPECT_DOUBLE_EQ(mcnemar_exact_p(0, 0), 1);
  EXPECT_DOUBLE_EQ(mcnemar_exact_p(3, 3), 1);
  EXPECT_NEAR(mcnemar_exact_p(0, 5), 2.0 / 32, 1e-15);
  EXPECT_NEAR(mcnemar_exact_p(9, 2), 2.0 * (1 + 11 + 55) / 2048, 1e-14);
  EXPECT_EQ(mcnemar_exact_p(2, 9), mcnemar_exact_p(9, 2));
  EXPECT_NEAR(mcnemar_exact_p(0, 1000), std::pow(0.5, 999), 1e-300);
}

TEST(PairedError, IsTheSampleDeviationOfDifferences) {
  EXPECT_FALSE(standard_error_of_mean({}).has_value());
  EXPECT_FALSE(standard_error_of_mean({1}).has_value());
  EXPECT_DOUBLE_EQ(*standard_error_of_mean({1, 1, 1}), 0);
  // Mean 0.5, squared deviations 4 * 0.25 -> sqrt(1 / 3 / 4).
  EXPECT_DOUBLE_EQ(*standard_error_of_mean({0, 1, 0, 1}), std::sqrt(1.0 / 12));
}

TEST(CompareRuns, FindsTheFlippedDocuments) {
  TemporaryDirectory folder;
  write(folder / "a", "arc", {sample(0, 1), sample(1, 0), sample(2, 1), sample(3, 1)});
  write(folder / "b", "arc", {sample(0, 1), sample(1, 1), sample(2, 0), sample(3, 0)});
  const RunComparison runs = compare_runs(folder / "a", folder / "b", {});
  EXPECT_TRUE(runs.differs());
  ASSERT_EQ(runs.tasks.size(), 1u);
  EXPECT_EQ(runs.tasks[0].task, "arc");
  ASSERT_EQ(runs.tasks[0].metrics.size(), 1u);
  const MetricComparison& acc = runs.tasks[0].metrics[0];
  EXPECT_EQ(acc.documents, 4);
  EXPECT_DOUBLE_EQ(acc.mean_a, 0.75);
  EXPECT_DOUBLE_EQ(acc.mean_b, 0.5);
  EXPECT_TRUE(acc.is_binary);
  EXPECT_EQ(acc.only_a, 2);
  EXPECT_EQ(acc.only_b, 1);
  EXPECT_DOUBLE_EQ(acc.mcnemar_p, 1);
  // Differences 0, -1, 1, 1: mean 1/4, squared deviations 11/4.
  EXPECT_DOUBLE_EQ(*acc.paired_standard_error, std::sqrt(11.0 / 4 / 3 / 4));
  ASSERT_EQ(acc.flipped.size(), 3u);
  EXPECT_EQ(acc.flipped[0].doc_id, 1);
  EXPECT_EQ(acc.flipped[1].doc_id, 2);
  EXPECT_EQ(acc.flipped[2].doc_id, 3);
}

TEST(CompareRuns, ToleratesRoundingWhenAsked) {
  TemporaryDirectory folder;
  write(folder / "a", "arc", {sample(0, 1, -1.5)});
  write(folder / "b", "arc", {sample(0, 1, -1.5001)});
  const RunComparison strict = compare_runs(folder / "a", folder / "b", {});
  EXPECT_TRUE(strict.differs());
  EXPECT_EQ(strict.tasks[0].other_answers, 1);
  EXPECT_NEAR(strict.tasks[0].max_loglikelihood_difference, 1e-4, 1e-12);
  EXPECT_FALSE(compare_runs(folder / "a", folder / "b", {.absolute = 1e-3}).differs());
  EXPECT_FALSE(compare_runs(folder / "a", folder / "a", {}).differs());
}

TEST(CompareRuns, CountsWhatCannotBePaired) {
  TemporaryDirectory folder;
  Json other_document = sample(2, 1), other_prompt = sample(3, 1), other_text = sample(4, 1);
  other_document["doc_hash"] = "another";
  other_prompt["prompt_hash"] = "another";
  other_text["filtered_resps"] = {"a text"};
  write(folder / "a", "arc", {sample(0, 1), sample(2, 1), sample(3, 1), sample(4, 1)});
  write(folder / "b", "arc", {sample(1, 1), other_document, other_prompt, other_text});
  write(folder / "a", "gsm8k", {sample(0, 1)});
  write(folder / "b", "mmlu", {sample(0, 1)});
  const RunComparison runs = compare_runs(folder / "a", folder / "b", {});
  EXPECT_EQ(runs.tasks_only_in_a, std::vector<std::string>{"gsm8k"});
  EXPECT_EQ(runs.tasks_only_in_b, std::vector<std::string>{"mmlu"});
  const TaskComparison& arc = runs.tasks.at(0);
  EXPECT_EQ(arc.only_in_a, std::vector<int64_t>{0});
  EXPECT_EQ(arc.only_in_b, std::vector<int64_t>{1});
  EXPECT_EQ(arc.other_documents, std::vector<int64_t>{2});
  EXPECT_EQ(arc.other_prompts, 1);
  EXPECT_EQ(arc.other_answers, 1);
  EXPECT_EQ(arc.documents, 2);
}

TEST(CompareRuns, TakesTheNewestSamplesAndTheHarnesssSubfolder) {
  TemporaryDirectory folder;
  write(folder / "a/org__model", "arc_easy", {sample(0, 0)}, "2026-01-02T03-04-05.000001");
  write(folder / "a/org__model", "arc_easy", {sample(0, 1)}, "2026-01-03T03-04-05.000001");
  write(folder / "b", "arc_easy", {sample(0, 1)});
  EXPECT_FALSE(compare_runs(folder / "a", folder / "b", {}).differs());
}

TEST(CompareRuns, DamagedSamplesAreNamed) {
  TemporaryDirectory folder;
  write(folder / "a", "arc", {sample(0, 1), sample(0, 1)});
  write(folder / "b", "arc", {Json("no object")});
  fs::create_directories(folder / "empty");
  std::string message;
  const auto compare = [&](const char* a, const char* b) { compare_runs(folder / a, folder / b, {}); };
  EXPECT_EQ(code_of([&] { compare("a", "a"); }, &message), ExitCode::kBadInput);
  EXPECT_NE(message.find(".jsonl:2: document 0 comes twice"), std::string::npos) << message;
  EXPECT_EQ(code_of([&] { compare("b", "b"); }, &message), ExitCode::kBadInput);
  EXPECT_NE(message.find(".jsonl:1"), std::string::npos) << message;
  EXPECT_EQ(code_of([&] { compare("empty", "b"); }, &message), ExitCode::kMissingInput);
  EXPECT_NE(message.find("log-samples"), std::string::npos) << message;
}

}  // namespace
}  // namespace evalmpi::eval

// Aggregates and standard errors against closed forms and figures of lm-evaluation-harness.

#include "evalmpi/task/aggregate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "evalmpi/base/error.h"

namespace evalmpi::task {
namespace {

const std::vector<Json> kLogLikelihoods = {-0.1, -0.5, -2, -3.25, -0.75, -1.5, -4, -0.25, -1, -2.5};

TEST(Aggregate, ClosedForms) {
  const std::vector<Json> numbers = {1.0, 0.0, 1.0, 1.0};
  EXPECT_EQ(aggregate("mean", numbers), 0.75);
  EXPECT_EQ(aggregate("median", {3.0, 1.0, 2.0, 9.0}), 3.0);  // the upper of the two in the middle
  EXPECT_EQ(aggregate("nanmean", {1.0, std::nan(""), 3.0}), 2.0);
  EXPECT_EQ(aggregate("bypass", numbers), 999);
  const std::vector<Json> weighted = {Json::array({-2.0, 3}), Json::array({-4.0, 1})};
  EXPECT_DOUBLE_EQ(aggregate("weighted_perplexity", weighted), std::exp(1.5));
  EXPECT_DOUBLE_EQ(aggregate("bits_per_byte", weighted), 1.5 / std::log(2.0));
  // 2 hits, 1 false alarm, 1 miss, 1 right rejection.
  const std::vector<Json> classes = {Json::array({1, 1}), Json::array({1, 1}), Json::array({0, 1}), Json::array({1, 0}),
                                     Json::array({0, 0})};
  EXPECT_DOUBLE_EQ(aggregate("f1", classes), 4.0 / 6.0);
  EXPECT_DOUBLE_EQ(aggregate("matthews_corrcoef", classes), (2.0 * 1 - 1 * 1) / std::sqrt(3.0 * 3 * 2 * 2));
  EXPECT_DOUBLE_EQ(aggregate("brier_score", {Json::array({1, {0.5, 0.5}}), Json::array({0, {1.0, 0.0}})}), 0.25);
}

TEST(Aggregate, RefusesValuesThatDoNotFit) {
  EXPECT_THROW(aggregate("mean", {"text"}), Error);
  EXPECT_THROW(aggregate("mean", {}), Error);
  EXPECT_THROW(aggregate("weighted_perplexity", {1.0}), Error);
  EXPECT_THROW(aggregate("f1", {Json::array({2, 1})}), Error);
  EXPECT_THROW(aggregate("brier_score", {Json::array({5, {0.5, 0.5}})}), Error);
}

TEST(StandardError, OfAMean) {
  EXPECT_DOUBLE_EQ(*standard_error("mean", {1.0, 0.0, 1.0, 1.0}, 100), std::sqrt(0.25) / 2);
  EXPECT_FALSE(standard_error("mean", {1.0}, 100));
  EXPECT_FALSE(standard_error("mean", {1.0, 0.0}, 0));
  EXPECT_FALSE(standard_error("weighted_perplexity", {Json::array({-2.0, 3}), Json::array({-4.0, 1})}, 100));
}

TEST(StandardError, BootstrapOfThePerplexity) {
  EXPECT_EQ(aggregate("perplexity", kLogLikelihoods), 4.879291378512731);
  EXPECT_EQ(*standard_error("perplexity", kLogLikelihoods, 5000), 2.261071661477084);
  EXPECT_EQ(*standard_error("perplexity", kLogLikelihoods, 5000, 3), 2.261071661477084);
}

TaskResult row(const char* name, int64_t n, double value, double error) {
  TaskResult result;
  result.name = name;
  result.n_documents = n;
  result.metrics = {{"acc", "none", value, error, n}};
  return result;
}

TEST(AggregateGroup, WeightedAndPooled) {
  GroupConfig group;
  group.name = "g";
  group.metrics = {{"acc", {}, true}};
  group.tasks = {"a", "b"};
  const std::vector<TaskResult> tasks = {row("a", 100, 0.5, 0.02), row("b", 50, 0.8, 0.03), row("other", 9, 1, 1)};
  const TaskResult result = aggregate_group(group, tasks);
  ASSERT_EQ(result.metrics.size(), 1u);
  EXPECT_DOUBLE_EQ(result.metrics[0].value, 0.6);
  EXPECT_DOUBLE_EQ(*result.metrics[0].standard_error, 0.01666441426221464);
  EXPECT_EQ(result.metrics[0].n_values, 150);
  EXPECT_EQ(result.n_documents, 150);

  group.metrics = {{"acc", {{"none"}}, false}};
  const TaskResult unweighted = aggregate_group(group, tasks);
  EXPECT_DOUBLE_EQ(unweighted.metrics[0].value, 0.65);
  EXPECT_DOUBLE_EQ(*unweighted.metrics[0].standard_error, std::sqrt(0.0004 + 0.0009) / 2);
}

TEST(AggregateGroup, NoErrorWhereATaskHasNone) {
  GroupConfig group;
  group.name = "g";
  group.metrics = {{"acc", {}, true}};
  group.tasks = {"a", "b"};
  std::vector<TaskResult> tasks = {row("a", 100, 0.5, 0.02), row("b", 50, 0.8, 0.03)};
  tasks[1].metrics[0].standard_error.reset();
  EXPECT_FALSE(aggregate_group(group, tasks).metrics[0].standard_error);
}

}  // namespace
}  // namespace evalmpi::task

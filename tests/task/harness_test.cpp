// Prompts, filters, metrics, standard errors and group rows against lm-evaluation-harness 0.4.13, on made-up datasets:
// tests/fixtures/task, written by tools/fixtures/make_task_fixtures.py with the harness's own code and task files.

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "evalmpi/base/hash.h"
#include "evalmpi/base/json.h"
#include "evalmpi/task/task.h"
#include "evalmpi/task/task_index.h"
#include "evalmpi/text/python.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

const std::filesystem::path kFixtures = EVALMPI_SOURCE_DIR "/tests/fixtures/task";

const Json& expected() {
  static const Json kExpected = read_json_file(kFixtures / "expected.json");
  return kExpected;
}

const TaskIndex& index() {
  static const TaskIndex kIndex = TaskIndex::scan({EVALMPI_SOURCE_DIR "/configs/tasks", kFixtures / "yaml"});
  return kIndex;
}

void expect_near(const Json& ours, const Json& theirs, const std::string& what) {
  if (theirs.is_number() && ours.is_number()) {
    const double wanted = theirs.get<double>();
    EXPECT_NEAR(ours.get<double>(), wanted, 4e-16 * std::abs(wanted)) << what;
  } else if (theirs.is_array() && ours.is_array()) {
    ASSERT_EQ(ours.size(), theirs.size()) << what;
    for (size_t i = 0; i < ours.size(); ++i) expect_near(ours[i], theirs[i], what);
  } else {
    EXPECT_EQ(ours, theirs) << what;
  }
}

// The samples of one document: one for each filter.
using Samples = std::vector<const Json*>;

void check_request(const Task& task, const Instance& instance, const Json& arguments) {
  if (instance.kind == RequestKind::kLoglikelihoodRolling) {
    EXPECT_EQ(Json(instance.continuation), arguments[0]);
    return;
  }
  EXPECT_EQ(Json(*instance.context), arguments[0]);
  if (instance.kind == RequestKind::kGenerateUntil) {
    EXPECT_EQ(task.generation_kwargs().dump(), arguments[1].dump());
  } else {
    EXPECT_EQ(Json(instance.continuation), arguments[1]);
  }
}

void check_hashes(const Task& task, const Instance& first, const Json& sample) {
  const Json& document = task.document(first.document);
  EXPECT_EQ(py::str(task.target(first.document)), sample["target"].get<std::string>());
  EXPECT_EQ(sha256_hex(py::json_dumps(document, {2, false, false})), sample["doc_hash"].get<std::string>());
  const bool rolling = first.kind == RequestKind::kLoglikelihoodRolling;
  EXPECT_EQ(sha256_hex(rolling ? first.continuation : *first.context), sample["prompt_hash"].get<std::string>());
  EXPECT_EQ(sha256_hex(py::str(task.target(first.document))), sample["target_hash"].get<std::string>());
}

void check_scores(const FilterScores& scores, const Json& sample) {
  EXPECT_EQ(scores.filter, sample["filter"].get<std::string>());
  EXPECT_EQ(Json(scores.filtered_responses), sample["filtered"]);
  const Json& metrics = sample["metrics"];
  EXPECT_EQ(scores.metrics.size(), metrics.size());
  size_t i = 0;
  for (const auto& [name, value] : metrics.items()) {
    if (i == scores.metrics.size()) break;
    EXPECT_EQ(scores.metrics[i].first, name);
    expect_near(scores.metrics[i].second, value, name);
    ++i;
  }
}

void check_document(const Task& task, const std::vector<Instance>& requests, const Samples& samples,
                    ScoreTable& table) {
  SCOPED_TRACE("row " + std::to_string(requests.front().document));
  const Json& first = *samples.front();
  ASSERT_EQ(requests.size(), first["arguments"].size());
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(requests[i].index, static_cast<int32_t>(i));
    check_request(task, requests[i], first["arguments"][i]);
  }
  check_hashes(task, requests.front(), first);
  const auto responses = first["responses"].get<std::vector<std::vector<Json>>>();
  const std::vector<FilterScores> scores = task.score(requests.front().document, responses);
  ASSERT_EQ(scores.size(), samples.size());
  for (size_t f = 0; f < scores.size(); ++f) check_scores(scores[f], *samples[f]);
  table.add(scores);
}

void check_row(const TaskResult& row, const Json& theirs) {
  EXPECT_EQ(row.alias, theirs["alias"].get<std::string>());
  std::vector<std::string> keys;
  for (const auto& [key, value] : theirs.items()) {
    if (key.find(',') != key.npos && key.find("_stderr,") == key.npos) keys.push_back(key);
  }
  ASSERT_EQ(row.metrics.size(), keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const MetricResult& metric = row.metrics[i];
    EXPECT_EQ(metric.key(), keys[i]);
    expect_near(metric.value, theirs[keys[i]], keys[i]);
    const Json error = metric.standard_error ? Json(*metric.standard_error) : Json("N/A");
    expect_near(error, theirs.value(metric.metric + "_stderr," + metric.filter, Json("N/A")), keys[i] + " stderr");
  }
  EXPECT_EQ(row.n_documents, theirs.value("sample_len", int64_t{0}));
}

TaskResult check_task(const TaskConfig& config, const Json& wanted, const TaskOptions& options) {
  SCOPED_TRACE(config.name);
  const Task task = Task::load(config, {{kFixtures / "data"}}, options);
  std::map<int64_t, Samples> by_row;
  for (const Json& sample : wanted["samples"][config.name]) by_row[sample["doc_id"].get<int64_t>()].push_back(&sample);
  EXPECT_EQ(task.evaluated_rows().size(), by_row.size());
  EXPECT_EQ(task.n_rows(), wanted["n-samples"][config.name]["original"].get<int64_t>());
  EXPECT_EQ(task.num_fewshot(), wanted["n-shot"][config.name].get<int>());
  EXPECT_EQ(config.version, wanted["versions"][config.name]);
  EXPECT_EQ(config.generation_kwargs.dump(), wanted["generation_kwargs"][config.name].dump());
  for (const MetricConfig& metric : config.metrics) {
    EXPECT_EQ(Json(metric.higher_is_better), wanted["higher_is_better"][config.name][metric.name]);
  }
  ScoreTable table;
  int64_t position = 0;
  for (const auto& [row, samples] : by_row) {
    check_document(task, task.build(position, position + 1), samples, table);
    ++position;
  }
  TaskResult result = table.result(config, expected()["bootstrap_iterations"].get<int64_t>(), 2);
  check_row(result, wanted["results"][config.name]);
  return result;
}

class Harness : public testing::TestWithParam<size_t> {};

TEST_P(Harness, AgreesWithTheHarness) {
  const Json& wanted = expected()["cases"][GetParam()];
  SCOPED_TRACE(wanted["tasks"].dump() + " shots " + wanted["shots"].dump() + " seed " + wanted["seed"].dump());
  TaskOverrides overrides;
  if (!wanted["shots"].is_null()) overrides.num_fewshot = wanted["shots"].get<int>();
  overrides.generation_kwargs = wanted.value("gen_kwargs", Json::object());
  const Selection selection = index().select(wanted["tasks"].get<std::vector<std::string>>(), overrides);
  EXPECT_EQ(selection.tasks.size(), wanted["samples"].size());

  TaskOptions options;
  options.fewshot_seed = wanted["seed"].get<int64_t>();
  if (wanted.contains("limit")) options.limit = wanted["limit"].get<double>();
  options.system_instruction = wanted.value("system_instruction", std::string());
  std::vector<TaskResult> rows;
  for (const TaskConfig& config : selection.tasks) rows.push_back(check_task(config, wanted, options));

  ASSERT_EQ(selection.groups.size(), wanted["group_subtasks"].size());
  for (const GroupConfig& group : selection.groups) {
    SCOPED_TRACE(group.name);
    EXPECT_EQ(Json(group.children), wanted["group_subtasks"][group.name]);
    EXPECT_EQ(Json(group.version), wanted["versions"][group.name]);
    check_row(aggregate_group(group, rows), wanted["results"][group.name]);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Harness, testing::Range<size_t>(0, 16));

TEST(Harness, TheFixtureHasAllCases) { EXPECT_EQ(expected()["cases"].size(), 16u); }

}  // namespace
}  // namespace evalmpi::task

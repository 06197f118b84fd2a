// Tasks that lm-evaluation-harness writes as Python classes against these classes: tests/fixtures/task/classes.json,
// written by tools/fixtures/make_class_fixtures.py.

#include <gtest/gtest.h>

#include <cmath>

#include "evalmpi/base/error.h"
#include "evalmpi/task/aggregate.h"
#include "evalmpi/task/task.h"
#include "native_functions.h"

namespace evalmpi::task {
namespace {

const Json& cases() {
  static const Json kCases = read_json_file(EVALMPI_SOURCE_DIR "/tests/fixtures/task/classes.json");
  return kCases;
}

// What the harness's file of the task says: its name and its class.
Json mapping_of(const std::string& python_class) {
  const size_t slash = python_class.rfind('/');
  const std::string folder = python_class.substr(0, slash);
  return {{"task", folder},
          {"class",
           {{"!function", python_class.substr(slash + 1)}, {"!file", "/tasks/" + folder + "/" + folder + ".yaml"}}}};
}

Task task_of(const Json& wanted, size_t n_rows, const TaskOverrides& overrides = {}) {
  data::Split documents;
  documents.rows = wanted["rows"].get<std::vector<Json>>();
  documents.rows.resize(n_rows);
  for (const auto& [column, value] : documents.rows.front().items()) documents.columns.push_back(column);
  return Task::from_documents(make_task_config(mapping_of(wanted["class"]), "/tasks/t.yaml", overrides), documents, {},
                              {});
}

const char* kind_name(RequestKind kind) {
  return kind == RequestKind::kGenerateUntil ? "generate_until" : "loglikelihood";
}

TEST(PythonClass, SaysWhereItsDataIs) {
  for (const Json& wanted : cases()) {
    const TaskConfig config = make_task_config(mapping_of(wanted["class"]), "/tasks/t.yaml", {});
    EXPECT_EQ(config.dataset_path, wanted["dataset"]);
    EXPECT_EQ(config.dataset_name, wanted["name"]);
    EXPECT_EQ(config.version, wanted["version"]);
    EXPECT_FALSE(config.test_split);
    EXPECT_EQ(config.validation_split, "validation");
    for (const MetricConfig& metric : config.metrics) {
      EXPECT_EQ(metric.higher_is_better, wanted["higher_is_better"][metric.name].get<bool>()) << metric.name;
    }
  }
}

TEST(PythonClass, AsksAsTheClassDoes) {
  for (const Json& wanted : cases()) {
    const Task task = task_of(wanted, wanted["rows"].size());
    const std::vector<Instance> instances = task.build_all();
    size_t next = 0;
    for (size_t row = 0; row < wanted["rows"].size(); ++row) {
      EXPECT_EQ(task.target(static_cast<int64_t>(row)), wanted["targets"][row]);
      int32_t index = 0;
      for (const Json& request : wanted["requests"][row]) {
        const Instance& instance = instances.at(next++);
        EXPECT_EQ(instance.document, static_cast<int64_t>(row));
        EXPECT_EQ(instance.index, index++);
        EXPECT_EQ(*instance.context, wanted["prompts"][row]);
        EXPECT_EQ(kind_name(instance.kind), request[0]);
        if (request[1].is_string()) {
          EXPECT_EQ(instance.continuation, request[1]);
        } else {
          EXPECT_EQ(task.generation_kwargs().dump(), request[1].dump());
        }
      }
    }
    EXPECT_EQ(next, instances.size());
  }
}

void expect_same(const Json& ours, const Json& theirs) {
  if (ours.is_structured()) {
    ASSERT_EQ(ours.size(), theirs.size());
    for (const auto& [key, value] : theirs.items()) {
      expect_same(theirs.is_array() ? ours[static_cast<size_t>(std::stoul(key))] : ours.at(key), value);
    }
  } else if (theirs.is_number_float()) {
    EXPECT_NEAR(ours.get<double>(), theirs.get<double>(), 4e-16 * std::abs(theirs.get<double>()));
  } else {
    EXPECT_EQ(ours, theirs);
  }
}

TEST(PythonClass, ScoresAsTheClassDoes) {
  for (const Json& wanted : cases()) {
    const std::string name = wanted["class"];
    SCOPED_TRACE(name);
    const size_t counts[] = {wanted["rows"].size(), 1, 2};
    for (size_t run = 0; run < std::size(counts); ++run) {
      const Task task = task_of(wanted, counts[run]);
      ScoreTable table;
      for (size_t row = 0; row < counts[run]; ++row) {
        std::vector<std::vector<Json>> responses;
        for (const Json& response : wanted["responses"][row]) responses.push_back({response});
        const std::vector<FilterScores> scores = task.score(static_cast<int64_t>(row), responses);
        ASSERT_EQ(scores.size(), 1U);
        size_t i = 0;
        for (const auto& [metric, value] : wanted["values"][row].items()) {
          EXPECT_EQ(scores[0].metrics.at(i).first, metric);
          expect_same(scores[0].metrics[i++].second, value);
        }
        EXPECT_EQ(i, scores[0].metrics.size());
        table.add(scores);
      }
      const TaskResult result = table.result(task.config(), 100);
      for (const auto& [metric, values] : wanted["results"].items()) {
        const MetricResult* row = result.find(metric, "none");
        ASSERT_NE(row, nullptr) << metric;
        EXPECT_NEAR(row->value, values[run].get<double>(), 1e-13 * std::abs(values[run].get<double>())) << metric;
        EXPECT_FALSE(row->standard_error.has_value()) << metric;
      }
    }
  }
}

TEST(PythonClass, EveryRowHasACase) {
  for (const struct PythonClass& row : python_classes()) {
    EXPECT_TRUE(std::any_of(cases().begin(), cases().end(), [&](const Json& one) { return one["class"] == row.name; }))
        << row.name;
  }
}

TEST(PythonClass, OthersAreRefused) {
  try {
    make_task_config(mapping_of("scrolls/task.Qasper"), "/tasks/t.yaml", {});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    EXPECT_NE(std::string(error.what()).find("Python"), std::string::npos) << error.what();
  }
}

TEST(PythonClass, PredictionsNeedNoScore) {
  TaskOverrides overrides;
  overrides.predict_only = true;
  const Task task = task_of(cases()[0], 3, overrides);
  EXPECT_EQ(task.build_all().size(), 6U);
  EXPECT_TRUE(task.score(0, {{"x"}, {loglikelihood_response(-1, false)}})[0].metrics[0].second.is_null());
}

// The task file's own keys hold over the class's.
TEST(PythonClass, MayBeChangedByItsFile) {
  Json mapping = mapping_of("squadv2/task.SQuAD2");
  mapping["dataset_path"] = "made/up";
  mapping["num_fewshot"] = 2;
  const TaskConfig config = make_task_config(mapping, "/tasks/t.yaml", {});
  EXPECT_EQ(config.dataset_path, "made/up");
  EXPECT_EQ(config.num_fewshot, 2);
  mapping["repeats"] = 2;
  EXPECT_THROW(make_task_config(mapping, "/tasks/t.yaml", {}), Error);
}

}  // namespace
}  // namespace evalmpi::task

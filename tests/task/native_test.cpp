// Native functions against the Python functions that they stand for: tests/fixtures/task/native.json and ifeval.json,
// written by tools/fixtures/make_native_fixtures.py and make_ifeval_fixtures.py with lm-evaluation-harness's own
// modules.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/task/filter.h"
#include "evalmpi/task/task.h"
#include "native/filter_classes.h"
#include "native_functions.h"
#include "temporary_directory.h"

namespace evalmpi::task {
namespace {

const Json& cases() {
  static const Json kCases = [] {
    Json all = Json::array();
    for (const char* name : {"native", "ifeval"}) {
      const Json one = read_json_file(std::string(EVALMPI_SOURCE_DIR "/tests/fixtures/task/") + name + ".json");
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }();
  return kCases;
}

Json function_value(const std::string& name) {
  const size_t slash = name.rfind('/');
  return {{"!function", name.substr(slash + 1)}, {"!file", "/tasks/" + name.substr(0, slash) + "/task.yaml"}};
}

void expect_same(const Json& ours, const Json& theirs) {
  if (ours.is_number() && theirs.is_number()) {
    const double wanted = theirs.get<double>();
    EXPECT_NEAR(ours.get<double>(), wanted, 4e-16 * std::abs(wanted));
  } else if (ours.is_boolean() && theirs.is_number()) {
    EXPECT_EQ(ours.get<bool>() ? 1 : 0, theirs);
  } else {
    EXPECT_EQ(ours.dump(), theirs.dump());
  }
}

void expect_same_metrics(const MetricValues& ours, const Json& theirs) {
  ASSERT_EQ(ours.size(), theirs.size());
  size_t i = 0;
  for (const auto& [name, value] : theirs.items()) {
    EXPECT_EQ(ours[i].first, name);
    if (value.is_array()) {
      ASSERT_EQ(ours[i].second.size(), value.size());
      for (size_t k = 0; k < value.size(); ++k) expect_same(ours[i].second[k], value[k]);
    } else {
      expect_same(ours[i].second, value);
    }
    ++i;
  }
}

void check_process_docs(const BoundFunction& function, const Json& wanted) {
  std::vector<Json> rows = wanted["rows"].get<std::vector<Json>>();
  std::vector<std::string> columns;
  for (const auto& [column, value] : rows.front().items()) columns.push_back(column);
  function.process_docs(columns, rows);
  ASSERT_EQ(rows.size(), wanted["output"].size());
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].dump(), wanted["output"][i].dump()) << "row " << i;
  for (const auto& [column, value] : wanted["output"][0].items()) {
    EXPECT_NE(std::find(columns.begin(), columns.end(), column), columns.end()) << column;
  }
}

void check(const Json& wanted) {
  const auto name = wanted["function"].get<std::string>();
  SCOPED_TRACE(name);
  const auto role = wanted["role"].get<std::string>();
  const auto bind = [&](FunctionRole wanted_role) { return find_native(function_value(name), wanted_role).value(); };
  if (role == "process_docs") return check_process_docs(bind(FunctionRole::kProcessDocs), wanted);
  if (role == "aggregation") {
    return expect_same(bind(FunctionRole::kAggregation).aggregation()(wanted["values"]), wanted["output"]);
  }
  for (size_t i = 0; i < wanted["rows"].size(); ++i) {
    SCOPED_TRACE(wanted["rows"][i].dump());
    if (role == "field") {
      expect_same(bind(FunctionRole::kDocumentField).field(wanted["rows"][i]), wanted["output"][i]);
    } else {
      SCOPED_TRACE(wanted["responses"][i].dump());
      const ProcessResults call = bind(FunctionRole::kProcessResults).process_results();
      expect_same_metrics(call(wanted["rows"][i], wanted["responses"][i]), wanted["output"][i]);
    }
  }
}

TEST(Native, AgreesWithPython) {
  for (const Json& wanted : cases()) ASSERT_NO_THROW(check(wanted)) << wanted["function"];
}

// score.json, by tools/fixtures/make_score_fixtures.py: functions that read their prompts from a file beside them.
const Json& score_cases() {
  static const Json kCases = read_json_file(EVALMPI_SOURCE_DIR "/tests/fixtures/task/score.json");
  return kCases;
}

TEST(Native, PromptsBesideFunctionsAgreeWithPython) {
  const TemporaryDirectory folder;
  for (const Json& wanted : score_cases()) {
    if (!wanted.contains("templates")) {
      ASSERT_NO_THROW(check(wanted)) << wanted["function"];
      continue;
    }
    const auto name = wanted["function"].get<std::string>();
    SCOPED_TRACE(name);
    const std::filesystem::path beside = folder.path() / name.substr(0, name.rfind('/'));
    std::filesystem::create_directories(beside);
    std::ofstream(beside / "prompt_templates.json") << wanted["templates"].dump();
    Json function = function_value(name);
    function["!file"] = (beside / "task.yaml").string();
    const auto bound = find_native(function, FunctionRole::kProcessDocs);
    ASSERT_TRUE(bound);
    check_process_docs(*bound, wanted);
  }
}

// filters.json: [document, response, what the class makes of it], by tools/fixtures/make_filter_fixtures.py.
const Json& filter_cases() {
  static const Json kCases = read_json_file(EVALMPI_SOURCE_DIR "/tests/fixtures/task/filters.json");
  return kCases;
}

TEST(Native, FiltersAgreeWithPython) {
  for (const Json& wanted : filter_cases()) {
    const std::string name = wanted["function"];
    SCOPED_TRACE(name);
    // As a task file gives it.
    Json step = wanted["kwargs"];
    step["function"] = function_value(name);
    Json mapping = {{"task", "t"},          {"dataset_path", "made/up"}, {"output_type", "generate_until"},
                    {"test_split", "test"}, {"doc_to_text", "x"},        {"doc_to_target", "y"}};
    mapping["filter_list"] =
        Json::array({{{"name", "f"}, {"filter", Json::array({step, {{"function", "take_first"}}})}}});
    const TaskConfig config = make_task_config(mapping, "/tasks/t.yaml", {});
    const FilterPipeline pipeline(config.filters.front(), "t");
    for (const Json& row : wanted["rows"]) EXPECT_EQ(pipeline.apply({row[1]}, row[0]), row[2]) << row[0] << row[1];
  }
}

TEST(Native, FiltersWithoutATwinAreRefused) {
  Json mapping = {{"task", "t"},          {"dataset_path", "made/up"}, {"output_type", "generate_until"},
                  {"test_split", "test"}, {"doc_to_text", "x"},        {"doc_to_target", "y"}};
  const auto refusal = [&](const Json& step) -> std::string {
    mapping["filter_list"] = Json::array({{{"name", "f"}, {"filter", Json::array({step})}}});
    try {
      make_task_config(mapping, "/tasks/t.yaml", {});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(refusal({{"function", function_value("other/utils.WordSortFilter")}}).find("other/utils.WordSortFilter"),
            std::string::npos);
  const Json step = {{"function", function_value("bbh/zeroshot/utils.WordSortFilter")}, {"select", 1}};
  EXPECT_NE(refusal(step).find("unknown argument select"), std::string::npos);
}

TEST(Native, PredictionsNeedNoFunctionOfScores) {
  Json mapping = {{"task", "t"},          {"dataset_path", "made/up"}, {"output_type", "generate_until"},
                  {"test_split", "test"}, {"doc_to_text", "x"},        {"doc_to_target", "y"}};
  mapping["metric_list"] = Json::array({{{"metric", function_value("code/utils.pass_at_k")}, {"k", {1}}}});
  const Json step = {{"function", "custom"}, {"filter_fn", function_value("code/utils.build_predictions")}};
  mapping["filter_list"] = Json::array({{{"name", "create_test"}, {"filter", Json::array({step})}}});
  EXPECT_THROW(make_task_config(mapping, "/tasks/t.yaml", {}), Error);
  TaskOverrides overrides;
  overrides.predict_only = true;
  const TaskConfig config = make_task_config(mapping, "/tasks/t.yaml", overrides);
  EXPECT_EQ(config.dump["metric_list"][0]["k"], Json::array({1}));
  data::Split documents;
  documents.columns = {"x", "y"};
  documents.rows = {{{"x", "def f():"}, {"y", "check"}}};
  const Task task = Task::from_documents(config, documents, {}, {});
  const FilterScores scores = task.score(0, {{"  return 1"}})[0];
  EXPECT_EQ(scores.filtered_responses[0], "  return 1");
  EXPECT_TRUE(scores.metrics[0].second.is_null());
  mapping["doc_to_text"] = function_value("code/utils.doc_to_text");
  EXPECT_THROW(make_task_config(mapping, "/tasks/t.yaml", overrides), Error);
}

// MMLU-ProX reads its words from the harness's folder; what belongs to a Python class is compared in python_class_test.
TEST(Native, EveryRowHasACase) {
  std::set<const NativeFunction*> seen;
  Json all = cases();
  all.insert(all.end(), score_cases().begin(), score_cases().end());
  for (const Json& wanted : all) {
    for (const FunctionRole role : {FunctionRole::kProcessDocs, FunctionRole::kDocumentField,
                                    FunctionRole::kProcessResults, FunctionRole::kAggregation}) {
      const auto function = find_native(function_value(wanted["function"]), role);
      if (function) seen.insert(function->twin);
    }
  }
  for (const NativeFunction& row : native_functions()) {
    const std::string name = row.name;
    if (name.find("mmlu_prox/") != name.npos || name.find("/task.") != name.npos) continue;
    // Another name of a function that has a case.
    const bool is_alias =
        std::any_of(seen.begin(), seen.end(), [&](const NativeFunction* one) { return one->call == row.call; });
    EXPECT_TRUE(seen.contains(&row) || is_alias) << row.name;
  }
}

TEST(Native, EveryFilterClassHasACase) {
  std::set<const native::FilterClass*> seen;
  for (const Json& wanted : filter_cases()) {
    seen.insert(native::find_filter_class(wanted["function"].get<std::string>()));
  }
  for (const native::FilterClass& row : native::filter_classes()) EXPECT_TRUE(seen.contains(&row)) << row.name;
}

TEST(Native, DamagedRowsAreNamed) {
  std::vector<std::string> columns = {"ctx_a"};
  for (const Json& wanted : cases()) {
    if (wanted["role"] != "process_docs") continue;
    const auto function = find_native(function_value(wanted["function"]), FunctionRole::kProcessDocs).value();
    std::vector<Json> rows = {Json::object()};
    try {
      function.process_docs(columns, rows);
      ADD_FAILURE() << wanted["function"];
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadInput);
      EXPECT_NE(std::string(error.what()).find("row 0"), std::string::npos) << error.what();
    }
  }
}

Task make_ifeval(bool is_scored, TaskOptions options) {
  Json mapping = {{"task", "t"},          {"dataset_path", "made/up"}, {"output_type", "generate_until"},
                  {"test_split", "test"}, {"doc_to_text", "prompt"},   {"doc_to_target", 0}};
  mapping["process_results"] = {{"!function", "utils.process_results"}, {"!file", "/tasks/ifeval/ifeval.yaml"}};
  mapping["metric_list"] = Json::array({{{"metric", is_scored ? "prompt_level_strict_acc" : "bypass"},
                                         {"aggregation", is_scored ? "mean" : "bypass"},
                                         {"higher_is_better", true}}});
  const std::pair<const char*, Json> instructions[] = {
      {"punctuation:no_comma", {{"keyword", nullptr}}},
      {"language:response_language", {{"language", "kn"}}},
      {"keywords:letter_frequency", {{"letter", "#"}, {"let_frequency", 4}, {"let_relation", "at least"}}},
      {"language:response_language", {{"language", "de"}}}};
  data::Split documents;
  documents.columns = {"prompt", "instruction_id_list", "kwargs"};
  for (const auto& [id, arguments] : instructions) {
    documents.rows.push_back({{"prompt", "x"}, {"instruction_id_list", {id}}, {"kwargs", Json::array({arguments})}});
  }
  return Task::from_documents(make_task_config(mapping, "/tasks/ifeval/ifeval.yaml", {}), documents, {}, options);
}

TEST(Native, DocumentsWithoutAScoreAreNamedBeforeARun) {
  try {
    make_ifeval(true, {});
    ADD_FAILURE();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    for (const char* part :
         {"language:response_language", "(rows 1, 3)", "keywords:letter_frequency", "(rows 2)", "--samples"}) {
      EXPECT_NE(message.find(part), message.npos) << message;
    }
  }
  TaskOptions options;
  options.rows = {0};
  EXPECT_EQ(make_ifeval(true, options).score(0, {{"a, b"}})[0].metrics[0].second, false);
  EXPECT_TRUE(make_ifeval(false, {}).score(1, {{"a"}})[0].metrics[0].second.is_null());
}

TEST(Native, RowsAreFoundByTheirFolders) {
  const auto named = [](const char* name, FunctionRole role) { return find_native(function_value(name), role); };
  EXPECT_TRUE(named("x/mmlu_pro/utils.process_law", FunctionRole::kProcessDocs));
  EXPECT_FALSE(named("x/mmlu_pro/utils.process_law", FunctionRole::kDocumentField));
  EXPECT_FALSE(named("other/utils.process_docs", FunctionRole::kProcessDocs));
  EXPECT_NE(named("leaderboard/mmlu_pro/utils.doc_to_text", FunctionRole::kDocumentField)->twin,
            named("mmlu_pro/utils.doc_to_text", FunctionRole::kDocumentField)->twin);
}

}  // namespace
}  // namespace evalmpi::task

// Native functions against the Python functions that they stand for: tests/fixtures/task/native.json, written by
// tools/fixtures/make_native_fixtures.py with lm-evaluation-harness's own modules.

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "evalmpi/base/error.h"
#include "native_functions.h"

namespace evalmpi::task {
namespace {

const Json& cases() {
  static const Json kCases = read_json_file(EVALMPI_SOURCE_DIR "/tests/fixtures/task/native.json");
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

// MMLU-ProX reads its words from the harness's folder; GPQA's draws depend on the run in the harness.
TEST(Native, EveryRowHasACase) {
  std::set<const NativeFunction*> seen;
  for (const Json& wanted : cases()) {
    for (const FunctionRole role : {FunctionRole::kProcessDocs, FunctionRole::kDocumentField,
                                    FunctionRole::kProcessResults, FunctionRole::kAggregation}) {
      const auto function = find_native(function_value(wanted["function"]), role);
      if (function) seen.insert(function->twin);
    }
  }
  for (const NativeFunction& row : native_functions()) {
    const std::string name = row.name;
    if (name.find("mmlu_prox/") != name.npos || name.find("gpqa/") != name.npos) continue;
    // Another name of a function that has a case.
    const bool is_alias =
        std::any_of(seen.begin(), seen.end(), [&](const NativeFunction* one) { return one->call == row.call; });
    EXPECT_TRUE(seen.contains(&row) || is_alias) << row.name;
  }
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

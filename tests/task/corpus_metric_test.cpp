// Aggregates, standard errors, tokens and edit counts against lm-evaluation-harness, sacrebleu and scikit-learn:
// tests/fixtures/task/metrics.json, written by tools/fixtures/make_metric_fixtures.py.

#include <gtest/gtest.h>

#include <cmath>

#include "corpus_metrics.h"
#include "evalmpi/base/error.h"
#include "evalmpi/task/aggregate.h"
#include "translation_edits.h"

namespace evalmpi::task {
namespace {

const Json& fixture() {
  static const Json kFixture = read_json_file(EVALMPI_SOURCE_DIR "/tests/fixtures/task/metrics.json");
  return kFixture;
}

void expect_close(double ours, const Json& theirs) {
  if (theirs.is_null()) {
    EXPECT_TRUE(std::isnan(ours));
    return;
  }
  EXPECT_NEAR(ours, theirs.get<double>(), 4e-15 * std::abs(theirs.get<double>()));
}

TEST(Aggregations, AgreeWithTheHarness) {
  for (const Json& row : fixture()["rows"]) {
    const auto name = row["aggregation"].get<std::string>();
    std::vector<Json> values = row["values"].get<std::vector<Json>>();
    for (Json& value : values) {
      if (value.is_null()) value = std::nan("");
    }
    SCOPED_TRACE(name + " of " + std::to_string(values.size()));
    expect_close(aggregate(name, values), row["value"]);
    const std::optional<double> error = standard_error(name, values, row["iterations"].get<int64_t>(), 2);
    ASSERT_EQ(error.has_value(), !row["stderr"].is_null());
    if (error) expect_close(*error, row["stderr"]);
  }
}

TEST(Tokens13a, AgreeWithSacrebleu) {
  for (const Json& pair : fixture()["tokens"]) {
    EXPECT_EQ(tokenize_13a(pair[0].get<std::string>()), pair[1].get<std::string>()) << pair[0];
  }
}

TEST(TranslationEdits, AgreeWithSacrebleu) {
  for (const Json& row : fixture()["edits"]) {
    EXPECT_EQ(count_translation_edits(row["hypothesis"], row["reference"]), row["edits"].get<int64_t>()) << row.dump();
  }
}

TEST(CorpusMetrics, RefuseValuesThatDoNotFit) {
  EXPECT_THROW(aggregate("bleu", {1.0}), Error);
  EXPECT_THROW(aggregate("chrf", {Json::array({"reference", 3})}), Error);
  EXPECT_THROW(aggregate("ter", {Json::array({Json::array(), "text"})}), Error);
  EXPECT_EQ(find_corpus_metric("rouge"), nullptr);
}

}  // namespace
}  // namespace evalmpi::task

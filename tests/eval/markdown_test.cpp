// The expected tables are what lm_eval.utils.make_table (0.4.13) prints of the same cells.
#include "markdown.h"

#include <gtest/gtest.h>

namespace evalmpi::eval {
namespace {

using Rows = std::vector<std::vector<std::string>>;

const std::vector<std::string> kHeader = {"Tasks", "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"};

TEST(MarkdownTable, numbers_have_the_decimals_of_the_most_exact_one) {
  const Rows rows = {{"a", "1.0", "none", "5", "acc", "↑", "0.5000", "±", "0.2500"},
                     {"b", "2", "none", "0", "byte_perplexity", "↑", "2.0000", "±", "   N/A"},
                     {"", "", "none", "0", "word_perplexity", "↑", "12345.6789", "±", "   N/A"}};
  EXPECT_EQ(markdown_table(kHeader, rows),
            "|Tasks|Version|Filter|n-shot|    Metric     |   |  Value   |   |Stderr|\n"
            "|-----|------:|------|-----:|---------------|---|---------:|---|------|\n"
            "|a    |      1|none  |     5|acc            |↑  |    0.5000|±  |  0.25|\n"
            "|b    |      2|none  |     0|byte_perplexity|↑  |    2.0000|±  |   N/A|\n"
            "|     |       |none  |     0|word_perplexity|↑  |12345.6789|±  |   N/A|\n");
}

TEST(MarkdownTable, texts_among_numbers_stay_on_the_left) {
  const Rows rows = {{"a", "Yaml", "none", "5", "acc", "↑", "1.0000", "±", "0.0000"},
                     {"b", "1.0", "none", " ", "f", "↑", "-0.2500", "", ""}};
  EXPECT_EQ(markdown_table(kHeader, rows),
            "|Tasks|Version|Filter|n-shot|Metric|   |Value|   |Stderr|\n"
            "|-----|-------|------|-----:|------|---|----:|---|-----:|\n"
            "|a    |Yaml   |none  |     5|acc   |↑  | 1.00|±  |     0|\n"
            "|b    |      1|none  |      |f     |↑  |-0.25|   |      |\n");
}

TEST(MarkdownTable, what_is_no_finite_number) {
  const Rows rows = {{"a", "0.1", "none", "0", "acc", "↑", "nan", "±", "nan"},
                     {"c", "3", "none", "0", "acc", "↑", "inf", "±", "0.25"}};
  EXPECT_EQ(markdown_table(kHeader, rows),
            "|Tasks|Version|Filter|n-shot|Metric|   | Value  |   |Stderr|\n"
            "|-----|------:|------|-----:|------|---|-------:|---|-----:|\n"
            "|a    |    0.1|none  |     0|acc   |↑  |     NaN|±  |   NaN|\n"
            "|c    |    3.0|none  |     0|acc   |↑  |Infinity|±  |  0.25|\n");
}

}  // namespace
}  // namespace evalmpi::eval

// YAML as PyYAML's safe loader reads it (values checked with PyYAML 6).

#include <gtest/gtest.h>

#include <cmath>

#include "evalmpi/base/error.h"
#include "evalmpi/task/task_index.h"

namespace evalmpi::task {
namespace {

Json value_of(const std::string& text) { return read_yaml_text("x: " + text, "t.yaml")["x"]; }

TEST(Yaml, PlainScalarsOfVersion11) {
  for (const char* word : {"yes", "On", "TRUE", "true"}) EXPECT_EQ(value_of(word), Json(true)) << word;
  for (const char* word : {"no", "off", "False"}) EXPECT_EQ(value_of(word), Json(false)) << word;
  for (const char* word : {"~", "null", ""}) EXPECT_EQ(value_of(word), Json()) << word;
  EXPECT_EQ(value_of("y"), Json("y"));
  EXPECT_EQ(value_of("1_000"), Json(1000));
  EXPECT_EQ(value_of("010"), Json(8));
  EXPECT_EQ(value_of("0x1F"), Json(31));
  EXPECT_EQ(value_of("-0b11"), Json(-3));
  EXPECT_EQ(value_of("1:30"), Json(90));
  EXPECT_EQ(value_of("09"), Json("09"));
  EXPECT_EQ(value_of("1.0"), Json(1.0));
  EXPECT_TRUE(value_of("1.").is_number_float());
  EXPECT_EQ(value_of(".5"), Json(0.5));
  EXPECT_EQ(value_of("1e5"), Json("1e5"));
  EXPECT_EQ(value_of("1.0e+5"), Json(1e5));
  EXPECT_EQ(value_of("-.inf"), Json(-INFINITY));
  EXPECT_EQ(value_of("1.2.3"), Json("1.2.3"));
  EXPECT_EQ(value_of("'yes'"), Json("yes"));
  EXPECT_EQ(value_of("\"1\""), Json("1"));
}

TEST(Yaml, TagsSayWhatAValueIs) {
  EXPECT_TRUE(value_of("!!float 3").is_number_float());
  EXPECT_EQ(value_of("!!float \"1\""), Json(1.0));
  EXPECT_EQ(value_of("!!int \"5\""), Json(5));
  EXPECT_EQ(value_of("!!str 5"), Json("5"));
  EXPECT_EQ(value_of("!!str 'a\n\n  '"), Json("a\n"));
  EXPECT_EQ(value_of("&x 'a\n\n  '"), Json("a\n"));
  EXPECT_EQ(value_of("!!null x"), Json());
  EXPECT_EQ(value_of("-9223372036854775808"), Json(std::numeric_limits<int64_t>::min()));
}

TEST(Yaml, TextsAndNewlines) {
  EXPECT_EQ(value_of("\"a\\nb\""), Json("a\nb"));
  EXPECT_EQ(value_of("'a\\nb'"), Json("a\\nb"));
  EXPECT_EQ(value_of("\"a \\\n  \\ b\""), Json("a  b"));
  EXPECT_EQ(value_of("'a\n\n\n  '"), Json("a\n\n"));
  EXPECT_EQ(value_of("'it''s\n  so'"), Json("it's so"));
  EXPECT_EQ(value_of("\"a\\_b \\xe9 \\u65e5\\N\""), Json("a\u00a0b \u00e9 \u65e5\u0085"));
  EXPECT_EQ(value_of("|\n  a\n  b\n"), Json("a\nb\n"));
  EXPECT_EQ(value_of(">-\n  a\n  b\n"), Json("a b"));
}

TEST(Yaml, FunctionsAndMerges) {
  const Json function = read_yaml_text("f: !function utils.process_docs", "/tasks/t.yaml")["f"];
  EXPECT_EQ(function["!function"], "utils.process_docs");
  EXPECT_EQ(function["!file"], "/tasks/t.yaml");
  const Json merged = read_yaml_text("a: &a {k: 1, l: 2}\nb:\n  <<: *a\n  k: 3\n", "t.yaml")["b"];
  EXPECT_EQ(merged, (Json{{"k", 3}, {"l", 2}}));
}

void expect_bad(const std::string& text, const std::string& part) {
  try {
    read_yaml_text(text, "t.yaml");
    FAIL() << "no failure for " << text.substr(0, 40);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Yaml, DamageIsNamedByLine) {
  expect_bad("a: 1\nb: [1, 2\nc: 3\n", "t.yaml:");
  expect_bad("a: 1\n\tb: 2\n", "t.yaml:2");
  expect_bad("a: 1\nb: !python/object:os.system x\n", "t.yaml:2");
  expect_bad("a: *nowhere\n", "t.yaml:1");
  expect_bad("a: 1\nb: 'not closed\nc: 2\n", "t.yaml:2: the value here begins with a quote that is not closed");
  expect_bad("a: &x \"not closed\n", "t.yaml:1");
  expect_bad("a: 1\n---\nb: 2\n", "a second document");
  expect_bad("a: 100000000000000000000\n", "outside 64 bits");
  expect_bad("a: =\n", "quotes");
  expect_bad("a: !!omap [x: 1]\n", "omap");
  expect_bad("a: !own {x: 1}\n", "!own");
  expect_bad("a: !!int x\n", "!!int");
  expect_bad("a: !!python/name:os.system\n", "!!python/name:os.system");
}

TEST(Yaml, HostileSizesAreRefused) {
  expect_bad("a: " + std::string(300, '[') + std::string(300, ']'), "t.yaml");
  // Nine levels of ten aliases each would be a thousand million values.
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
    for (int k = 1; k < 10; ++k) bomb += ", " + last;
    bomb += "]\n";
  }
  expect_bad(bomb, "million");
}

}  // namespace
}  // namespace evalmpi::task

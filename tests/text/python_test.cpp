#include "evalmpi/text/python.h"

#include <gtest/gtest.h>

#include <limits>

#include "evalmpi/base/error.h"

namespace evalmpi::text {
namespace {

const Json& fixture() {
  static const Json kFixture = read_json_file(EVALMPI_SOURCE_DIR "/tests/fixtures/text/python_cases.json");
  return kFixture;
}

std::optional<int64_t> bound(const Json& value) {
  if (value.is_null()) return {};
  return value.get<int64_t>();
}

// All expected values of the fixture were computed by CPython (tools/fixtures/make_python_fixtures.py).
TEST(PythonTest, ReprStrAndJsonDumps) {
  for (const Json& test_case : fixture().at("values")) {
    const Json& value = test_case["value"];
    EXPECT_EQ(python::repr(value), test_case["repr"].get<std::string>());
    EXPECT_EQ(python::str(value), test_case["str"].get<std::string>());
    EXPECT_EQ(python::truth(value), test_case["truth"].get<bool>());
    EXPECT_EQ(python::json_dumps(value), test_case["dumps"].get<std::string>());
    EXPECT_EQ(python::json_dumps(value, {.indent = 2, .ensure_ascii = false}),
              test_case["dumps_indented"].get<std::string>());
    EXPECT_EQ(python::json_dumps(value, {.indent = 0, .sort_keys = true}),
              test_case["dumps_sorted"].get<std::string>());
  }
}

TEST(PythonTest, FloatsPrintTheirShortestForm) {
  for (const Json& test_case : fixture().at("floats")) {
    EXPECT_EQ(python::repr_float(std::strtod(test_case[0].get<std::string>().c_str(), nullptr)),
              test_case[1].get<std::string>());
  }
  EXPECT_EQ(python::json_dumps(Json(std::numeric_limits<double>::quiet_NaN())), "NaN");
  EXPECT_EQ(python::json_dumps(Json(-std::numeric_limits<double>::infinity())), "-Infinity");
}

TEST(PythonTest, StringsAsInPython) {
  for (const Json& test_case : fixture().at("strings")) {
    const auto text = test_case["text"].get<std::string>();
    SCOPED_TRACE(python::repr_text(text));
    EXPECT_EQ(python::lower(text), test_case["lower"].get<std::string>());
    EXPECT_EQ(python::upper(text), test_case["upper"].get<std::string>());
    EXPECT_EQ(python::title(text), test_case["title"].get<std::string>());
    EXPECT_EQ(python::capitalize(text), test_case["capitalize"].get<std::string>());
    EXPECT_EQ(python::strip(text), test_case["strip"].get<std::string>());
    EXPECT_EQ(python::lstrip(text), test_case["lstrip"].get<std::string>());
    EXPECT_EQ(python::rstrip(text), test_case["rstrip"].get<std::string>());
    EXPECT_EQ(python::strip(text, "aé "), test_case["strip_chars"].get<std::string>());
    EXPECT_EQ(python::split(text), test_case["split"].get<std::vector<std::string>>());
    EXPECT_EQ(python::split(text, 1), test_case["split_once"].get<std::vector<std::string>>());
    EXPECT_EQ(python::split(text, " "), test_case["split_space"].get<std::vector<std::string>>());
    EXPECT_EQ(python::replace(text, "", "-"), test_case["replace_empty"].get<std::string>());
    EXPECT_EQ(python::replace(text, "a", "bb", 1), test_case["replace_once"].get<std::string>());
    EXPECT_EQ(python::length(text), test_case["length"].get<size_t>());
    EXPECT_EQ(python::is_digit(text), test_case["isdigit"].get<bool>());
    for (const Json& slice : test_case["slices"]) {
      EXPECT_EQ(python::slice(text, bound(slice[0]), bound(slice[1]), bound(slice[2])), slice[3].get<std::string>())
          << slice;
    }
  }
}

TEST(PythonTest, EveryCharacterHasPythonsProperties) {
  for (const Json& range : fixture().at("spaces")) {
    for (int32_t c = range[0].get<int32_t>(); c <= range[1].get<int32_t>(); ++c) EXPECT_TRUE(python::is_space(c)) << c;
  }
  int spaces = 0;
  for (int32_t c = 0; c < 0x110000; ++c) spaces += python::is_space(c);
  EXPECT_EQ(spaces, fixture().at("space_count").get<int>());
}

TEST(PythonTest, LiteralsAsAstLiteralEval) {
  for (const Json& test_case : fixture().at("literals")) {
    const auto text = test_case["text"].get<std::string>();
    SCOPED_TRACE(text);
    const std::optional<Json> value = python::parse_literal(text);
    ASSERT_EQ(value.has_value(), test_case.contains("value"));
    if (value.has_value()) {
      EXPECT_EQ(value->dump(), test_case["value"].dump());
    }
  }
}

TEST(PythonTest, DeepOrDamagedLiteralsAreNone) {
  EXPECT_FALSE(python::parse_literal(std::string(100000, '[')));
  EXPECT_FALSE(python::parse_literal(std::string(100000, '(') + std::string(100000, ')')));
}

TEST(PythonTest, DamagedUtf8IsKeptByteByByte) {
  const std::string damaged = "a\xff\xc3";
  EXPECT_EQ(python::length(damaged), 3u);
  EXPECT_EQ(python::slice(damaged, 1, 2), "\xff");
  EXPECT_EQ(python::upper(damaged), "A\xff\xc3");
  EXPECT_EQ(python::strip(damaged), damaged);
  EXPECT_EQ(python::repr_text(damaged), "'a\\xff\\xc3'");
}

TEST(PythonTest, EmptySeparatorAndZeroStepAreErrors) {
  EXPECT_THROW(python::split("a", ""), Error);
  EXPECT_THROW(python::slice("abc", {}, {}, 0), Error);
}

}  // namespace
}  // namespace evalmpi::text

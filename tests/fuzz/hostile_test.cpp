// Inputs made to cost much: each is read in bounded time and memory, or refused by an Error that says why.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "evalmpi/base/error.h"
#include "evalmpi/data/readers.h"
#include "evalmpi/task/filter.h"
#include "evalmpi/task/task_index.h"
#include "evalmpi/text/jinja.h"
#include "evalmpi/text/regex.h"
#include "evalmpi/text/tokenizer.h"
#include "temporary_directory.h"

namespace evalmpi {
namespace {

std::string repeated(std::string_view text, size_t times) {
  std::string result;
  for (size_t i = 0; i < times; ++i) result += text;
  return result;
}

// What `work` threw, "" if nothing. Fails on anything but kBadInput.
std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput) << error.what();
    return error.what();
  }
  return "";
}

TEST(Hostile, patterns_that_backtrack_on_answers_of_100_kB_end) {
  const std::vector<std::string> patterns = {R"((a+)+$)",
                                             R"((a|aa)+$)",
                                             R"((a|a?)+$)",
                                             R"((.*a){12}$)",
                                             R"(^(([a-z])+.)+[A-Z]([a-z])+$)",
                                             R"((\s*\w+\s*)+:)",
                                             R"((x+x+)+y)",
                                             R"(.*.*.*=.*)",
                                             R"((?=(a+))a*b\1)",
                                             R"(#### (\-?[0-9\.\,]+))",
                                             R"((\w+\s?)*\?)",
                                             R"(\s+$)",
                                             R"((?<=a+b)c|d{9})",
                                             R"(((a{1,9}){1,9}){1,9}b)",
                                             R"((?s).*#### )",
                                             R"(The answer is (\-?[0-9\.\,]*[0-9]+))",
                                             R"(((?:[^"\\]|\\.)*)+")",
                                             R"((a+)+[bc])",
                                             R"((\w+\s?)*[?!]$)",
                                             R"(\s+[xy]$)",
                                             R"(([0-9]+,?)*[^0-9,])"};
  const std::vector<std::string> answers = {repeated("a", 100'000),      repeated("ab ", 33'333),
                                            repeated("1,", 50'000),      repeated(" ", 100'000),
                                            repeated("x", 99'999) + "!", repeated("The answer is ", 7'143)};
  for (const std::string& pattern : patterns) {
    for (const std::string& answer : answers) {
      const std::string why = refusal([&] {
        const task::FilterConfig config{"f", {{"regex", {{"regex_pattern", pattern}, {"group_select", -1}}}}};
        task::FilterPipeline(config, "made.yaml: filter_list[0]").apply({answer}, Json::object());
      });
      EXPECT_TRUE(why.empty() || why.starts_with("made.yaml: filter_list[0]")) << why;
    }
  }
}

long peak_mb() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss >> 10;
}

// The file is sparse: it has no bytes on the disk.
TEST(Hostile, a_line_of_two_gigabytes_is_refused_in_bounded_memory) {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "rows";
  const std::vector<std::pair<std::string, std::function<void()>>> cases = {
      {"{\"question\": \"", [&] { data::read_jsonl(file); }},
      {"{\"question\": \"", [&] { data::read_json(file); }},
      {"a,b\n\"1", [&] { data::read_csv(file); }},
      {"a", [&] { data::read_text(file); }}};
  const long before = peak_mb();
  for (const auto& [beginning, read] : cases) {
    std::ofstream(file) << beginning;
    ASSERT_EQ(::truncate(file.c_str(), off_t{2} << 30), 0);
    const std::string why = refusal(read);
    EXPECT_NE(why.find(file.string() + ":"), std::string::npos) << why;
    EXPECT_LT(peak_mb() - before, 1'024) << beginning;
  }
}

TEST(Hostile, templates_that_would_not_end_or_grow_without_bound_are_refused) {
  const long before = peak_mb();
  for (const std::string source : {
           "{% for i in range(1000000000000) %}x{% endfor %}",
           "{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}",
           "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
           "{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
           "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
           "{% macro m(x) %}{{ m(x ~ x) }}{{ m(x ~ x) }}{% endmacro %}{{ m('x') }}",
           "{{ 'x' * 100000000000 }}",
           "{{ [1] * 100000000000 }}",
           "{{ (['x' * 1000000] * 1000000) | join }}",
           "{{ '%999999999d' | format(1) }}",
           "{{ '%*d' | format(999999999, 1) }}",
           "{{ '{:>9999999999}'.format(1) }}",
           "{{ 'x'.center(10000000000) }}",
           "{{ 'x'.zfill(10000000000) }}",
           "{{ 'x'.ljust(10000000000) }}",
           "{{ ('x\n' * 1000) | indent(10000000000) }}",
           "{{ ('x' * 1000000) | replace('x', 'y' * 1000000) }}",
           "{{ ('x' * 1000000).replace('', 'y' * 1000000) }}",
           "{{ ('x' * 100000) | regex_replace('x', 'y' * 100000) }}",
           "{{ ('x' * 100000).join(['a'] * 100000) }}",
           "{{ 10 ** 1000000000 }}",
           "{{ 1.5 | round(2147483647) }}",
           "{{ range(0, 1000000000000) | list | length }}",
           "{{ ([[1] * 10000] * 10000) | tojson(indent=100000) }}",
           "{{ ([[1] * 10000] * 10000) | string }}",
           "{{ ([[[[[[[1]*20]*20]*20]*20]*20]*20]*20) == ([[[[[[[1]*20]*20]*20]*20]*20]*20]*20) }}",
           "{{ ('a' * 100000) | regex_replace('(a+)+[bc]', '') }}",
       }) {
    EXPECT_NE(refusal([&] { text::Template::parse(source, "made").render(Json::object()); }), "") << source;
  }
  EXPECT_LT(peak_mb() - before, 1'024);
}

TEST(Hostile, nesting_of_any_depth_is_refused_by_all_readers) {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "tokenizer.json";
  for (const size_t depth : {1'000u, 100'000u, 1'000'000u}) {
    for (const std::string& text : {repeated("[", depth), repeated("{\"a\":", depth), repeated("[{\"a\":", depth),
                                    "{\"a\": " + repeated("[", depth) + repeated("]", depth) + "}"}) {
      EXPECT_NE(refusal([&] { parse_json(text, "made"); }), "");
      std::ofstream(file) << text;
      EXPECT_NE(refusal([&] { data::read_jsonl(file); }), "");
      EXPECT_NE(refusal([&] { data::read_json(file); }), "");
      EXPECT_NE(refusal([&] { text::Tokenizer::load(directory.path()); }), "");
    }
    if (depth > 100'000) continue;
    for (const std::string& yaml : {repeated("[", depth), repeated("{a: ", depth), repeated("- ", depth) + "x",
                                    repeated("? ", depth), "a: " + repeated("[", depth) + repeated("]", depth),
                                    repeated("&a ", depth), repeated("!x ", depth), repeated("a: ", depth)}) {
      EXPECT_NE(refusal([&] { task::read_yaml_text(yaml, "made.yaml"); }), "") << yaml.substr(0, 10);
    }
    for (const std::string& source :
         {"{{ " + repeated("(", depth) + "1" + repeated(")", depth) + " }}", "{{ " + repeated("[", depth),
          "{{ " + repeated("not ", depth) + "1 }}", "{{ " + repeated("-", depth) + "1 }}",
          "{{ 1" + repeated(" if 1 else 1", depth) + " }}", "{{ 1" + repeated(" + 1", depth) + " }}",
          "{{ x" + repeated(".x", depth) + " }}", "{{ x" + repeated("[0]", depth) + " }}",
          "{{ x" + repeated("|list", depth) + " }}", "{{ x" + repeated("()", depth) + " }}",
          repeated("{% if 1 %}", depth) + repeated("{% endif %}", depth), repeated("{% for i in [1] %}", depth),
          repeated("{% if 1 %}{% elif 1 %}", depth), "{{ " + repeated("{'a': ", depth)}) {
      EXPECT_NE(refusal([&] {
                  text::Template::parse(source, "made").render({{"x", Json::array()}});
                }),
                "")
          << source.substr(0, 30);
    }
    for (const std::string& pattern : {repeated("(", depth) + repeated(")", depth), repeated("(?:a|", depth),
                                       repeated("[", depth), repeated("(?=", depth), "a" + repeated("{1}", depth)}) {
      refusal([&] { text::Regex::compile(pattern, "made").search("a"); });
    }
  }
}

TEST(Hostile, yaml_that_names_itself_a_billion_times_is_refused) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  std::string merges = "b0: &b0 {k: v}\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 1; j < 10; ++j) bomb += ", " + before;
    bomb += "]\n";
    merges += "b" + std::to_string(i) + ": &b" + std::to_string(i) + " {<<: [";
    for (int j = 0; j < 10; ++j) merges += (j > 0 ? ", *b" : "*b") + std::to_string(i - 1);
    merges += "], k" + std::to_string(i) + ": v}\n";
  }
  const long before = peak_mb();
  for (const std::string& yaml : {bomb, merges, std::string("a: &a [*a]"), std::string("&a {b: *a}")}) {
    EXPECT_NE(refusal([&] { task::read_yaml_text(yaml, "made.yaml"); }), "") << yaml.substr(0, 30);
  }
  EXPECT_LT(peak_mb() - before, 1'024);
}

}  // namespace
}  // namespace evalmpi

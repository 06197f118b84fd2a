#include "evalmpi/text/jinja.h"

#include <gtest/gtest.h>

#include "evalmpi/base/error.h"

namespace evalmpi::text {
namespace {

std::string render(const std::string& source, const Json& variables = Json::object(), TemplateOptions options = {}) {
  return Template::parse(source, "test", options).render(variables);
}

// The message of the kBadInput error that `work` must end in.
template <typename Work>
std::string problem_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

// Every case was rendered by jinja2 in the environment of lm-evaluation-harness, or as transformers sets it up for
// chat templates (tools/fixtures/make_jinja_fixtures.py).
TEST(JinjaTest, RendersAsJinja2) {
  const Json cases = read_json_file(EVALMPI_SOURCE_DIR "/tests/fixtures/text/jinja_cases.json");
  ASSERT_GT(cases.size(), 300u);
  for (const Json& test_case : cases) {
    const auto source = test_case["template"].get<std::string>();
    SCOPED_TRACE(source);
    const TemplateOptions options = test_case["chat"].get<bool>() ? TemplateOptions::chat() : TemplateOptions{};
    if (test_case.contains("error")) {
      EXPECT_THROW(render(source, test_case["variables"], options), Error);
    } else {
      std::string output;
      EXPECT_NO_THROW(output = render(source, test_case["variables"], options));
      EXPECT_EQ(output, test_case["output"].get<std::string>());
    }
  }
}

TEST(JinjaTest, EvaluateGivesTheValueOfASingleExpression) {
  const Json doc = {{"choices", {{"text", {"it's", "b"}}}}, {"label", 2}};
  EXPECT_EQ(Template::parse("{{choices.text}}", "test").evaluate(doc), Json({"it's", "b"}));
  EXPECT_EQ(Template::parse("{{ label }}", "test").evaluate(doc), Json(2));
  EXPECT_EQ(Template::parse("{{ label }} ", "test").evaluate(doc), Json("2 "));
  EXPECT_EQ(Template::parse("plain", "test").evaluate(doc), Json("plain"));
}

TEST(JinjaTest, KnowsPlainText) {
  EXPECT_TRUE(Template::parse("no tags { } % #}", "test").is_plain_text());
  EXPECT_TRUE(Template::parse("", "test").is_plain_text());
  EXPECT_FALSE(Template::parse("{{ a }}", "test").is_plain_text());
  EXPECT_FALSE(Template::parse("a{# c #}", "test").is_plain_text());
}

TEST(JinjaTest, ErrorsNameTemplateLineAndCause) {
  const std::string missing = problem_of([] {
    Template::parse("a\nb {{ questoin }}", "arc.yaml: doc_to_text").render({{"question", 1}});
  });
  EXPECT_NE(missing.find("arc.yaml: doc_to_text"), missing.npos) << missing;
  EXPECT_NE(missing.find("line 2"), missing.npos) << missing;
  EXPECT_NE(missing.find("'questoin' is undefined"), missing.npos) << missing;
  const std::string statement = problem_of([] { Template::parse("\n\n{% include 'x' %}", "t"); });
  EXPECT_NE(statement.find("line 3"), statement.npos) << statement;
  EXPECT_NE(statement.find("'include'"), statement.npos) << statement;
  EXPECT_NE(problem_of([] { Template::parse("{{ x|frobnicate }}", "t"); }).find("'frobnicate'"), std::string::npos);
  EXPECT_NE(problem_of([] { render("{{ raise_exception('roles must alternate') }}"); }).find("roles must alternate"),
            std::string::npos);
}

TEST(JinjaTest, HostileTemplatesEndInAnError) {
  const Json doc = {{"x", "a"}};
  const char* sources[] = {
      "{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}",
      "{{ 'a' * 1000000000000 }}",
      "{{ ['a'] * 1000000000000 }}",
      "{{ range(100000000000)|list }}",
      "{% set ns = namespace(t='aaaaaaaa') %}{% for i in range(100) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
      "{% set ns = namespace(t=[1]) %}{% for i in range(100) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.t }}",
      "{% set ns = namespace(t=[1]) %}{% for i in range(100000) %}{% set ns.t = [ns.t] %}{% endfor %}",
      "{% set ns = namespace(a=1) %}{% set ns.b = ns %}",
      "{% set ns = namespace(t='a' * 1000000) %}{{ ns.t.replace('a', ns.t) }}",
      "{% set ns = namespace(t='a' * 1000000) %}{{ ns.t.join([ns.t] * 1000) }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{{ 9223372036854775807 + 1 }}",
      "{{ 1 // 0 }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ 10 ** 100 }}",
      "{{ 2.0 ** 1000000000 }}",
      "{{ (0 - 2.0) ** 1025 }}",
      "{{ 10 ** 309.0 }}",
      "{{ x[9] }}",
      "{{ [1, 2] | map('upper') }}",
  };
  for (const char* source : sources) {
    SCOPED_TRACE(source);
    EXPECT_THROW(render(source, doc), Error);
  }
}

TEST(JinjaTest, HostileSourcesEndInAnError) {
  const auto repeated = [](std::string_view text, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += text;
    return out;
  };
  const std::string sources[] = {
      "{{ " + repeated("(", 100000),
      "{{ " + repeated("[", 100000) + "1" + repeated("]", 100000) + " }}",
      "{{ " + repeated("-", 100000) + "1 }}",
      "{{ " + repeated("not ", 100000) + "1 }}",
      "{{ 1" + repeated(" + 1", 100000) + " }}",
      "{{ 1" + repeated(" if 1", 100000) + " }}",
      "{{ x" + repeated("|string", 100000) + " }}",
      "{{ x" + repeated(".x", 100000) + " }}",
      repeated("{% if x %}", 100000),
      repeated("{% set a = ", 50000),
      "{% for " + repeated("(", 100000),
      "{{",
      "{%",
      "{#",
      "{% raw %}",
      "{{ 'abc }}",
      "{{ 'abc\\",
      "{{ '\\ud800' }}",
      "{{ 99999999999999999999 }}",
      "{% for x in %}{% endfor %}",
      "{% if %}{% endif %}",
      "{% endif %}",
      "{% break %}",
      "{{ a b }}",
      "{{ a. }}",
      "{{ a[ }}",
      "{{ a ? b }}",
      std::string(2 << 20, 'x'),
  };
  for (const std::string& source : sources) {
    SCOPED_TRACE(source.substr(0, 40));
    EXPECT_THROW(render(source, {{"x", "a"}}), Error);
  }
}

TEST(JinjaTest, OneTemplateRendersManyTimes) {
  const Template parsed = Template::parse("{% set n = namespace(i=0) %}{% set n.i = n.i + x %}{{ n.i }}", "test");
  EXPECT_EQ(parsed.render({{"x", 1}}), "1");
  EXPECT_EQ(parsed.render({{"x", 2}}), "2");
}

}  // namespace
}  // namespace evalmpi::text

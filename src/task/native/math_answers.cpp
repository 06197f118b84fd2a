#include "math_answers.h"

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

constexpr std::string_view kSpacedBox = "\\boxed ";
constexpr std::string_view kBox = "\\boxed{";

using Optional = std::optional<std::string>;

std::string after_first_characters(const std::vector<std::string_view>& characters, size_t count) {
  std::string rest;
  for (size_t i = count; i < characters.size(); ++i) rest += characters[i];
  return rest;
}

// \frac1b becomes \frac{1}{b}. Nothing for a \frac at the end; the text itself for one with a single character.
Optional brace_fractions(const std::string& text) {
  const std::vector<std::string> pieces = py::split(text, "\\frac");
  std::string result = pieces.front();
  for (size_t i = 1; i < pieces.size(); ++i) {
    result += "\\frac";
    if (pieces[i].empty()) return {};
    if (pieces[i].front() == '{') {
      result += pieces[i];
      continue;
    }
    const std::vector<std::string_view> characters = py::code_points(pieces[i]);
    if (characters.size() < 2) return text;
    const std::string second(characters[1]);
    result += "{" + std::string(characters[0]) + "}" + (second == "{" ? second : "{" + second + "}") +
              after_first_characters(characters, 2);
  }
  return result;
}

// \sqrt3 becomes \sqrt{3}. Nothing for a \sqrt at the end.
Optional brace_roots(const std::string& text) {
  const std::vector<std::string> pieces = py::split(text, "\\sqrt");
  std::string result = pieces.front();
  for (size_t i = 1; i < pieces.size(); ++i) {
    if (pieces[i].empty()) return {};
    if (pieces[i].front() == '{') {
      result += "\\sqrt" + pieces[i];
    } else {
      const std::vector<std::string_view> characters = py::code_points(pieces[i]);
      result += "\\sqrt{" + std::string(characters[0]) + "}" + after_first_characters(characters, 1);
    }
  }
  return result;
}

// Whether Python's int() reads it: digits with single underscores between, a sign, space around.
bool is_integer(std::string_view text) {
  static const text::Regex kInteger = text::Regex::compile(R"([+-]?\d+(_\d+)*)", "integers");
  return kInteger.full_match(py::strip(text)).has_value();
}

// a/b of plain integers becomes \frac{a}{b}.
Optional fraction_of_slash(const std::string& text, Slashes slashes) {
  const std::vector<std::string> pieces = py::split(text, "/");
  if (pieces.size() != 2) return text;
  if (!is_integer(pieces[0]) || !is_integer(pieces[1])) return slashes == Slashes::kAny ? text : Optional();
  static const text::Regex kPlain = text::Regex::compile("(0|-?[1-9][0-9]*)/(0|-?[1-9][0-9]*)", "plain fractions");
  if (!kPlain.full_match(text)) return text;
  return "\\frac{" + pieces[0] + "}{" + pieces[1] + "}";
}

Optional without_units(const std::string& text) {
  const std::vector<std::string> pieces = py::split(text, "\\text{ ");
  if (pieces.size() > 2) return {};
  return pieces.front();
}

std::string after_last_equals(const std::string& text) { return py::lstrip(py::split(text, "=").back(), " "); }

Optional boxed_answer(const std::string& response) {
  const Optional boxed = last_boxed(response, false);
  Optional answer = boxed ? inside_boxed(*boxed, false) : Optional();
  if (answer && answer->find('=') != answer->npos) answer = after_last_equals(*answer);
  return answer;
}

Optional dollar_answer(const std::string& response) {
  static const text::Regex kDollars = text::Regex::compile(R"(\$(.*)\$)", "math answers");
  const std::vector<std::string> matches = kDollars.find_all_texts(response);
  if (matches.empty()) return {};
  return matches.back().find('=') == std::string::npos ? matches.back() : after_last_equals(matches.back());
}

Optional plain_answer(const std::string& response) {
  if (response.find('=') != response.npos) {
    const std::string answer = py::rstrip(after_last_equals(response), ".");
    return py::split(answer, "\\n").front();
  }
  static const text::Regex kNumber = text::Regex::compile(R"((?:\$)?\d+(?:\.\d+)?(?![\w\d]))", "math answers");
  const std::vector<std::string> matches = kNumber.find_all_texts(response);
  if (matches.empty()) return {};
  return matches.back();
}

}  // namespace

std::optional<std::string> math_answer(const std::string& response) {
  if (response.find("\\boxed") != response.npos) return boxed_answer(response);
  const Optional answer = dollar_answer(response);
  return answer && !answer->empty() ? answer : plain_answer(response);
}

std::optional<std::string> last_boxed(std::string_view text, bool spaced) {
  if (spaced && text.find(kSpacedBox) != text.npos) {
    const std::string_view rest = text.substr(text.rfind(kSpacedBox) + kSpacedBox.size());
    return std::string(kSpacedBox) + std::string(rest.substr(0, rest.find('$')));
  }
  size_t begin = text.rfind("\\boxed");
  if (begin == text.npos) begin = text.rfind("\\fbox");
  if (begin == text.npos) return {};
  int64_t depth = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return std::string(text.substr(begin, i + 1 - begin));
  }
  return {};
}

std::optional<std::string> inside_boxed(std::string_view text, bool spaced) {
  if (spaced && text.find(kSpacedBox) != text.npos) {
    if (!text.starts_with(kSpacedBox)) return {};
    return std::string(text.substr(kSpacedBox.size()));
  }
  if (!text.starts_with(kBox) || !text.ends_with('}')) return {};
  return std::string(text.substr(kBox.size(), text.size() - kBox.size() - 1));
}

std::optional<std::string> normal_form(std::string_view given, Slashes slashes) {
  std::string text(given);
  using Replacement = std::pair<const char*, const char*>;
  constexpr Replacement kBeforeUnits[] = {{"\n", ""},        {"\\!", ""},    {"\\\\", "\\"},  {"tfrac", "frac"},
                                          {"dfrac", "frac"}, {"\\left", ""}, {"\\right", ""}, {"^{\\circ}", ""},
                                          {"^\\circ", ""},   {"\\$", ""}};
  for (const auto& [from, to] : kBeforeUnits) text = py::replace(text, from, to);
  const Optional unitless = without_units(text);
  if (!unitless) return {};
  text = py::replace(*unitless, "\\%", "");
  text = py::replace(text, " .", " 0.");
  text = py::replace(text, "{.", "{0.");
  if (text.empty()) return text;
  if (text.front() == '.') text = "0" + text;
  const std::vector<std::string> sides = py::split(text, "=");
  if (sides.size() == 2 && py::length(sides[0]) <= 2) text = sides[1];
  const Optional roots = brace_roots(text);
  if (!roots) return {};
  const Optional fractions = brace_fractions(py::replace(*roots, " ", ""));
  if (!fractions) return {};
  return fraction_of_slash(*fractions == "0.5" ? "\\frac{1}{2}" : *fractions, slashes);
}

bool is_equivalent(std::string_view a, std::string_view b, Slashes slashes) {
  const Optional form_a = normal_form(a, slashes);
  const Optional form_b = normal_form(b, slashes);
  return form_a && form_b ? *form_a == *form_b : a == b;
}

void hendrycks_math_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    const Optional boxed = last_boxed(text_of(row, "solution"), true);
    const Optional answer = boxed ? inside_boxed(*boxed, true) : Optional();
    if (!answer) fail(ExitCode::kBadInput, "the column solution has no \\boxed answer");
    text_of(row, "problem");
    row["answer"] = *answer;
  });
}

// What stands between the first and the last dollar sign, else the whole response.
MetricValues hendrycks_math_process_results(const Json& document, const std::vector<Json>& responses) {
  const std::string& response = only_text(responses);
  const size_t first = response.find('$');
  const size_t last = response.rfind('$');
  const std::string answer = first == last ? response : response.substr(first + 1, last - first - 1);
  const Optional boxed = last_boxed(text_of(document, "solution"), true);
  const Optional gold = boxed ? inside_boxed(*boxed, true) : Optional();
  if (!gold) fail(ExitCode::kBadInput, "the column solution has no \\boxed answer");
  return {{"exact_match", is_equivalent(answer, *gold, Slashes::kOfIntegers) ? 1 : 0}};
}

}  // namespace evalmpi::task::native

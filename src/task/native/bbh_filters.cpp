// Filters of BIG-Bench Hard's zero-shot tasks, and of KorMedMCQA.

#include <algorithm>
#include <memory>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "filter_classes.h"
#include "native_functions.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;
using text::Regex;

constexpr const char* kNumberPattern = "#### (\\-?[0-9\\.\\,]+)";

// Rows of patterns and what they stand for: the first pattern found in what any of them finds.
struct MapRegex {
  explicit MapRegex(FilterArguments& arguments)
      : simplify(arguments),
        select(arguments.take_integer("group_select", 0)),
        fallback(arguments.take_text("fallback", "[invalid]")) {
    const Json rows = arguments.take("regex_pattern_to_value", Json::object());
    if (!rows.is_object()) fail(ExitCode::kBadInput, "{}: regex_pattern_to_value must be a mapping", arguments.where());
    std::vector<std::string> patterns;
    for (const auto& [pattern, value] : rows.items()) {
      patterns.push_back(pattern);
      values.emplace_back(Regex::compile(pattern, arguments.where()), value);
    }
    any = std::make_unique<const Regex>(Regex::compile(py::join(patterns, "|"), arguments.where()));
  }

  Json extract(const std::string& response) const {
    const std::string whole = found_stripped(*any, simplify(response), select);
    if (whole.empty()) return fallback;
    for (const auto& [regex, value] : values) {
      if (found_stripped(regex, simplify(whole), select).empty()) continue;
      return py::truth(value) ? value : Json(fallback);
    }
    return fallback;
  }

  ResponseSimplifier simplify;
  int64_t select;
  std::string fallback;
  std::unique_ptr<const Regex> any;
  std::vector<std::pair<Regex, Json>> values;
};

// A run of English number words. As in the harness, "six", "seven" and "nine" begin or end no run, while "fify" may.
const Regex& number_words() {
  static const Regex kRun = [] {
    const std::string small = "zero|one|two|three|four|five|(?:twen|thir|for|fif|six|seven|nine)";
    const std::string large = "|ten|eleven|twelve|fourteen|hundred|thousand|(?:m|b|tr)illion";
    const std::string first = small + "(?:teen|ty)|eight(?:|een|y)" + large;
    const std::string middle = small + "(?:|teen|ty)|eight(?:een|y)" + large + "|[^\\S\\r\\n]|,|and|&";
    const std::string last = small + "(?:teen|ty)|eight(?:een|y)" + large;
    return Regex::compile("((?:(?:" + first + ")(?:" + middle + ")+)?(?:" + last + "))", "number words");
  }();
  return kRun;
}

struct NumberWord {
  std::string_view word;
  int64_t value;
};

constexpr NumberWord kNumberWords[] = {
    {"zero", 0},      {"one", 1},         {"two", 2},           {"three", 3},
    {"four", 4},      {"five", 5},        {"six", 6},           {"seven", 7},
    {"eight", 8},     {"nine", 9},        {"ten", 10},          {"eleven", 11},
    {"twelve", 12},   {"thirteen", 13},   {"fourteen", 14},     {"fifteen", 15},
    {"sixteen", 16},  {"seventeen", 17},  {"eighteen", 18},     {"nineteen", 19},
    {"twenty", 20},   {"thirty", 30},     {"forty", 40},        {"fifty", 50},
    {"sixty", 60},    {"seventy", 70},    {"eighty", 80},       {"ninety", 90},
    {"hundred", 100}, {"thousand", 1000}, {"million", 1000000}, {"billion", 1000000000}};

using Numbers = std::vector<int64_t>;
using Optional = std::optional<int64_t>;

// The value of the words of one part, below its "thousand": word2number's rules, which know up to four words and take
// the first of more.
Optional value_of_part(const Numbers& words, size_t begin, size_t end) {
  if (begin >= end) return {};
  const int64_t* w = words.data() + begin;
  if (end - begin == 4) return w[0] * w[1] + w[2] + w[3];
  if (end - begin == 3) return w[0] * w[1] + w[2];
  if (end - begin == 2) return w[0] == 100 || w[1] == 100 ? w[0] * w[1] : w[0] + w[1];
  return w[0];
}

// word2number's number of a text; nothing where it raises an error.
Optional number_of_words(const std::string& text) {
  Numbers words;
  for (const std::string& word : py::split(text)) {
    const auto row = std::find_if(std::begin(kNumberWords), std::end(kNumberWords),
                                  [&](const auto& one) { return one.word == word; });
    if (row != std::end(kNumberWords)) words.push_back(row->value);
  }
  if (words.empty()) return {};
  constexpr int64_t kScales[] = {1000000000, 1000000, 1000};
  for (const int64_t scale : kScales) {
    if (std::count(words.begin(), words.end(), scale) > 1) return {};
  }
  if (words.size() == 1) return words.front();
  int64_t total = 0;
  size_t begin = 0;
  // What stands behind the smallest scale that is not the last word is added; after "two million five thousand" that is
  // "five thousand" once more, by the rule for two words.
  Optional rest_begin = 0;
  for (const int64_t scale : kScales) {
    const auto at = static_cast<size_t>(std::find(words.begin(), words.end(), scale) - words.begin());
    if (at == words.size()) continue;
    if (at < begin) return {};
    const Optional part = value_of_part(words, begin, at);
    if (!part) return {};
    total += *part * scale;
    if (at + 1 != words.size()) {
      rest_begin = static_cast<int64_t>(at + 1);
    } else if (begin == 0) {
      rest_begin.reset();
    }
    begin = at + 1;
  }
  if (!rest_begin) return total;
  return total + value_of_part(words, static_cast<size_t>(*rest_begin), words.size()).value();
}

std::string sort_as_given(const std::string& response, const Json& document) {
  const std::vector<std::string> parts = py::split(text_of(document, "input"), "List:");
  if (parts.size() < 2) fail(ExitCode::kBadInput, "the column input has no \"List:\"");
  std::vector<std::string> patterns = py::split(parts[1]);
  for (std::string& word : patterns) word = "\\b" + word + "\\b";
  const Regex any = Regex::compile(py::join(patterns, "|"), "the column input");
  if (any.group_count() > 1) fail(ExitCode::kBadInput, "the words of the column input hold parentheses");
  std::vector<std::string> kept;  // from the last to the first
  std::vector<std::string> found = any.find_all_texts(response);
  std::reverse(found.begin(), found.end());
  for (const std::string& word : found) {
    if (std::find(kept.begin(), kept.end(), word) == kept.end()) kept.push_back(word);
  }
  std::reverse(kept.begin(), kept.end());
  return py::join(kept, " ");
}

FilterApply map_regex(FilterArguments& arguments) {
  auto rule = std::make_shared<const MapRegex>(arguments);
  return for_each_response(
      arguments.where(), [rule](const Json& response, const Json&) { return rule->extract(response_text(response)); });
}

// Digits by the pattern, else number words; the fallback also where word2number raises an error.
FilterApply number_parse(FilterArguments& arguments) {
  auto digits = std::make_shared<const Regex>(
      Regex::compile(arguments.take_text("regex_pattern", kNumberPattern), arguments.where()));
  const int64_t select = arguments.take_integer("group_select", 0);
  const std::string fallback = arguments.take_text("fallback", "[invalid]");
  const ResponseSimplifier unused(arguments);
  return for_each_response(arguments.where(), [=](const Json& response, const Json&) -> Json {
    const std::string text = response_text(response);
    if (std::string found = found_stripped(*digits, text, select); !found.empty()) return found;
    const Optional number = number_of_words(found_stripped(number_words(), py::lower(text), select));
    return number ? std::to_string(*number) : fallback;
  });
}

FilterApply word_sort(FilterArguments& arguments) {
  return for_each_response(arguments.where(), [](const Json& response, const Json& document) -> Json {
    return sort_as_given(response_text(response), document);
  });
}

// KorMedMCQA: the last match of the first of these patterns that matches.
FilterApply extract_choice(FilterArguments& arguments) {
  auto patterns = std::make_shared<std::vector<Regex>>();
  for (const char* pattern : {"\uc815\ub2f5[:\\s]*([ABCDE])", "\uc815\ub2f5\uc740\\s*([ABCDE])\\s*\uc785\ub2c8\ub2e4",
                              "\\b([ABCDE])\\.", "\\b([ABCDE])\\b"}) {
    patterns->push_back(Regex::compile(pattern, arguments.where(), text::RegexDialect::kPython, {.ignore_case = true}));
  }
  return for_each_response(arguments.where(), [patterns](const Json& response, const Json&) -> Json {
    for (const Regex& pattern : *patterns) {
      if (const auto found = found_text(pattern, response_text(response), -1)) return py::upper(*found);
    }
    return "";
  });
}

constexpr FilterClass kClasses[] = {
    {"bbh/*/utils.MapRegexFilter", map_regex},
    {"bbh/*/utils.MultiChoiceRegexFilter", make_multi_choice_of_input},
    {"bbh/*/utils.NumberParseRegexFilter", number_parse},
    {"bbh/*/utils.WordSortFilter", word_sort},
    {"kormedmcqa/utils.ExtractChoiceFilter", extract_choice},
};

}  // namespace

std::span<const FilterClass> filter_classes() { return kClasses; }

const FilterClass* find_filter_class(const std::string& path) {
  const auto row = std::find_if(std::begin(kClasses), std::end(kClasses),
                                [&](const FilterClass& one) { return names_function(one.name, path); });
  return row == std::end(kClasses) ? nullptr : row;
}

}  // namespace evalmpi::task::native

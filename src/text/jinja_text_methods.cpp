// Less common methods of text: padding, partition and questions about its characters.

#include <algorithm>

#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "evalmpi/text/unicode.h"
#include "jinja_filters.h"

namespace evalmpi::text::jinja {
namespace {

std::string repeated(const std::string& character, int64_t count) {
  std::string out;
  for (int64_t i = 0; i < count; ++i) out += character;
  return out;
}

// center, ljust and rjust: how many fill characters stand on the left is Python's choice.
std::string padded(const std::string& text, const std::string& name, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind(name, {"width", "fillchar"});
  if (!bound[0]) throw Problem(fmt::format("{} needs a width", name));
  const int64_t width = integer_of(*bound[0], "width");
  const std::string fill = bound[1] ? to_text(*bound[1]) : " ";
  if (python::length(fill) != 1) throw Problem("the fill character must be exactly one character long");
  const int64_t missing = width - static_cast<int64_t>(python::length(text));
  if (missing <= 0) return text;
  budget.charge(static_cast<uint64_t>(missing));
  int64_t left = name == "ljust" ? 0 : missing;
  if (name == "center") left = missing / 2 + (missing & width & 1);
  return repeated(fill, left) + text + repeated(fill, missing - left);
}

std::string zero_filled(const std::string& text, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind("zfill", {"width"});
  if (!bound[0]) throw Problem("zfill needs a width");
  const int64_t missing = integer_of(*bound[0], "width") - static_cast<int64_t>(python::length(text));
  if (missing <= 0) return text;
  budget.charge(static_cast<uint64_t>(missing));
  const size_t sign = text.starts_with('+') || text.starts_with('-') ? 1 : 0;
  return text.substr(0, sign) + repeated("0", missing) + text.substr(sign);
}

Value parted(const std::string& text, const std::string& name, const Arguments& arguments) {
  const auto bound = arguments.bind(name, {"sep"});
  if (!bound[0] || !bound[0]->as_text()) throw Problem(fmt::format("{} needs a separator of text", name));
  const std::string& separator = *bound[0]->as_text();
  if (separator.empty()) throw Problem("empty separator");
  const bool from_right = name == "rpartition";
  const size_t at = from_right ? text.rfind(separator) : text.find(separator);
  std::vector<std::string> parts = {text, "", ""};
  if (at != std::string::npos) {
    parts = {text.substr(0, at), separator, text.substr(at + separator.size())};
  } else if (from_right) {
    parts = {"", "", text};
  }
  std::vector<Value> values;
  for (std::string& part : parts) values.push_back(Value::text(std::move(part)));
  return Value::list(std::move(values), List::Form::kTuple);
}

struct Question {
  std::string_view name;
  const char* pattern;  // of the whole text, in Oniguruma's words
};

constexpr Question kQuestions[] = {
    {"isalpha", "\\p{L}+"},
    {"isalnum", "(?:\\p{L}|\\p{N})+"},
    {"isdecimal", "\\p{Nd}+"},
    {"isascii", "[\\x00-\\x7f]*"},
    {"islower", "(?=(?s:.*)\\p{Lowercase})[^\\p{Uppercase}\\p{Lt}]+"},
    {"isupper", "(?=(?s:.*)\\p{Uppercase})[^\\p{Lowercase}\\p{Lt}]+"},
};

bool holds(const Question& question, const std::string& text) {
  static const std::vector<Regex> kPatterns = [] {
    std::vector<Regex> patterns;
    for (const Question& one : kQuestions) {
      patterns.push_back(Regex::compile(one.pattern, one.name, RegexDialect::kOniguruma));
    }
    return patterns;
  }();
  return kPatterns[static_cast<size_t>(&question - kQuestions)].full_match(text).has_value();
}

std::string with_cases_swapped(const std::string& text) {
  std::string out;
  for (const std::string_view character : python::code_points(text)) {
    const std::string upper = python::upper(character);
    const std::string lower = python::lower(character);
    if (upper == character) {
      out += lower;
    } else {
      out += lower == character ? upper : std::string(character);
    }
  }
  return out;
}

}  // namespace

bool is_other_text_method(std::string_view name) {
  constexpr std::string_view kNames[] = {"center", "ljust", "partition", "rjust", "rpartition", "swapcase", "zfill"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) ||
         std::any_of(std::begin(kQuestions), std::end(kQuestions),
                     [&](const Question& question) { return question.name == name; });
}

Value call_other_text_method(const std::string& text, const std::string& name, const Arguments& arguments,
                             Budget& budget) {
  if (name == "center" || name == "ljust" || name == "rjust") return Value::text(padded(text, name, arguments, budget));
  if (name == "zfill") return Value::text(zero_filled(text, arguments, budget));
  if (name == "partition" || name == "rpartition") return parted(text, name, arguments);
  arguments.bind(name, {});
  if (name == "swapcase") return Value::text(with_cases_swapped(text));
  for (const Question& question : kQuestions) {
    if (question.name == name) return Value(holds(question, text));
  }
  throw Problem(fmt::format("text has no method {}", name));
}

}  // namespace evalmpi::text::jinja

#include "nltk_words.h"

#include <vector>

#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;
using text::Regex;

struct Rewriting {
  Regex regex;
  const char* replacement;
};

Rewriting row(const char* pattern, const char* replacement, bool ignore_case = false) {
  return {Regex::compile(pattern, "NLTK's words", text::RegexDialect::kPython, {.ignore_case = ignore_case}),
          replacement};
}

// What NLTK 3.10's NLTKWordTokenizer puts spaces around, in its order. The rules for the last period are left out: a
// word is as upper case with its period as without.
const std::vector<Rewriting>& rewritings() {
  static const std::vector<Rewriting> kRows = [] {
    std::vector<Rewriting> rows;
    const auto add = [&](const char* pattern, const char* replacement, bool ignore_case = false) {
      rows.push_back(row(pattern, replacement, ignore_case));
    };
    add("([\u00ab\u201c\u2018\u201e]|[`]+)", " \\1 ");
    add("^\"", "``");
    add("(``)", " \\1 ");
    add("([ \\(\\[{<])(\"|'{2})", "\\1 `` ");
    add("(?<!\\w)(')(?!(?:re|ve|ll|m|t|s|d|n)\\b)(?=\\w)", "\\1 ", true);
    add("([:,])([^\\d])", " \\1 \\2");
    add("([:,])$", " \\1 ");
    add("\\.{2,}", " \\g<0> ");
    add("[;@#$%&]", " \\g<0> ");
    add("[\u2012-\u2015]", " \\g<0> ");
    add("[?!]", " \\g<0> ");
    add("([^'])' ", "\\1 ' ");
    add("[*]", " \\g<0> ");
    add("[\\]\\[\\(\\)\\{\\}\\<\\>]", " \\g<0> ");
    add("--", " -- ");
    add("^|\\Z", " ");
    add("([\u00bb\u201d\u2019])", " \\1 ");
    add("''", " '' ");
    add("\"", " '' ");
    add("\\s+", " ");
    add("([^' ])('[sS]|'[mM]|'[dD]|') ", "\\1 \\2 ");
    add("([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "\\1 \\2 ");
    for (const char* pattern :
         {"\\b(can)(not)\\b", "\\b(d)('ye)\\b", "\\b(gim)(me)\\b", "\\b(gon)(na)\\b", "\\b(got)(ta)\\b",
          "\\b(lem)(me)\\b", "\\b(more)('n)\\b", "\\b(wan)(na)(?=\\s)", " ('t)(is)\\b", " ('t)(was)\\b"}) {
      add(pattern, " \\1 \\2 ", true);
    }
    return rows;
  }();
  return kRows;
}

bool is_upper(const std::string& word) {
  static const Regex kUpper = Regex::compile("(?=(?s:.*)\\p{Uppercase})[^\\p{Lowercase}\\p{Lt}]+", "upper case",
                                             text::RegexDialect::kOniguruma);
  return kUpper.full_match(word).has_value();
}

}  // namespace

CapitalWords count_capital_words(const std::string& text) {
  static const Regex kUnsure = Regex::compile("\\.(?='|:\\d)", "ends of sentences");
  std::string spaced = text;
  for (const Rewriting& rewriting : rewritings()) spaced = rewriting.regex.replace_all(spaced, rewriting.replacement);
  CapitalWords count;
  for (const std::string& word : py::split(spaced)) count.at_least += is_upper(word) ? 1 : 0;
  count.at_most = count.at_least + static_cast<int64_t>(kUnsure.find_all(text).size());
  return count;
}

}  // namespace evalmpi::task::native

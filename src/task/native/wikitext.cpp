#include <utility>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

using Replacement = std::pair<const char*, const char*>;

// In this order, before and after the brackets and quotes.
constexpr Replacement kMarks[] = {{" @-@ ", "-"}, {" @,@ ", ","}, {" @.@ ", "."}, {" : ", ": "}, {" ; ", "; "},
                                  {" . ", ". "},  {" ! ", "! "},  {" ? ", "? "},  {" , ", ", "}};
constexpr Replacement kRest[] = {{"= = = =", "===="}, {"= = =", "==="}, {"= =", "=="},  {" \u00b0 ", "\u00b0"},
                                 {" \n", "\n"},       {"\n ", "\n"},    {" N ", " 1 "}, {" 's", "'s"}};

struct Pattern {
  text::Regex regex;
  const char* replacement;
};

// Brackets and quotes without space inside.
const std::vector<Pattern>& patterns() {
  static const std::vector<Pattern> kPatterns = [] {
    std::vector<Pattern> made;
    const auto add = [&](const char* regex, const char* replacement) {
      made.push_back({text::Regex::compile(regex, "wikitext"), replacement});
    };
    add(R"(\(\s*([^\)]*?)\s*\))", R"((\1))");
    add(R"(\[\s*([^\]]*?)\s*\])", R"([\1])");
    add(R"({\s*([^}]*?)\s*})", R"({\1})");
    add(R"(\"\s*([^\"]*?)\s*\")", R"("\1")");
    add(R"('\s*([^']*?)\s*')", R"('\1')");
    return made;
  }();
  return kPatterns;
}

// The page as it was before it was cut into tokens.
std::string detokenized(const std::string& cut) {
  std::string page = py::replace(cut, "s '", "s'");
  static const text::Regex kSlashed = text::Regex::compile("/' [0-9]/", "wikitext");
  page = kSlashed.replace_all(page, "/'[0-9]/");
  for (const auto& [from, to] : kMarks) page = py::replace(page, from, to);
  for (const Pattern& pattern : patterns()) page = pattern.regex.replace_all(page, pattern.replacement);
  for (const auto& [from, to] : kRest) page = py::replace(page, from, to);
  return page;
}

// Words and bytes are those of the page as it stands in the dataset.
MetricValues perplexities(const std::string& page, const std::vector<Json>& responses) {
  if (responses.size() != 1 || !responses[0].is_number()) {
    fail(ExitCode::kBadInput, "the filters must leave one log-likelihood, not {}", py::repr(Json(responses)));
  }
  static const text::Regex kSpace = text::Regex::compile("\\s+", "wikitext");
  const Json words = Json::array({responses[0], kSpace.split(page).size()});
  const Json bytes = Json::array({responses[0], page.size()});
  return {{"word_perplexity", words}, {"byte_perplexity", bytes}, {"bits_per_byte", bytes}};
}

}  // namespace

Json wikitext_detokenizer(const Json& document) { return detokenized(text_of(document, "page")); }

MetricValues wikitext_process_results(const Json& document, const Responses& responses) {
  return perplexities(text_of(document, "page"), responses);
}

Json french_wikitext_detokenizer(const Json& document) { return detokenized(text_of(document, "paragraph")); }

MetricValues french_wikitext_process_results(const Json& document, const Responses& responses) {
  return perplexities(text_of(document, "paragraph"), responses);
}

Json c4_detokenizer(const Json& document) { return detokenized(text_of(document, "text")); }

MetricValues c4_process_results(const Json& document, const Responses& responses) {
  return perplexities(text_of(document, "text"), responses);
}

Json paloma_doc_to_target(const Json& document) { return py::str(value_of(document, "text")); }

}  // namespace evalmpi::task::native

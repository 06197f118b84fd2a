// Completions that have to contain a value: FDA, SWDE and SQuAD completion of the "based" collection.

#include "aggregations.h"
#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

// re.escape.
std::string escaped(std::string_view text) {
  constexpr std::string_view kSpecial = "()[]{}?*+-|^$\\.&~# \t\n\r\v\f";
  std::string pattern;
  for (const char c : text) {
    if (kSpecial.find(c) != kSpecial.npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace

Json contains_doc_to_text(const Json& document) { return py::strip(text_of(document, "text")); }

Json contains_doc_to_target(const Json& document) { return py::strip(text_of(document, "value")); }

MetricValues contains_process_results(const Json& document, const Responses& responses) {
  const std::string value = py::strip(text_of(document, "value"));
  const text::Regex pattern =
      text::Regex::compile(escaped(value), "the column value", text::RegexDialect::kPython, {.ignore_case = true});
  return {{"contains", pattern.search(only_text(responses)).has_value() ? 1 : 0}};
}

double mean_without_error(const std::vector<Json>& values) {
  std::vector<double> numbers;
  for (const Json& value : values) numbers.push_back(value.get<double>());
  return pairwise_sum(numbers.data(), numbers.size()) / static_cast<double>(numbers.size());
}

}  // namespace evalmpi::task::native

#pragma once

// What the steps of a filter pipeline are made of.

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"

namespace evalmpi::task {

// The list of responses to one request, or the single response that a step made of it, and the document.
using FilterApply = std::function<Json(Json value, const Json& document)>;

// The arguments of one step. FAILS: kBadInput naming task, filter, step and argument.
class FilterArguments {
 public:
  // `where` names the task and the filter; `kwargs` outlives this.
  FilterArguments(const std::string& where, const std::string& function, const Json& kwargs);

  const std::string& where() const { return where_; }
  Json take(const char* key, Json fallback);
  std::string take_text(const char* key, const std::string& fallback);
  int64_t take_integer(const char* key, int64_t fallback);
  bool take_boolean(const char* key);
  void refuse_others() const;

 private:
  const Json& kwargs_;
  std::string where_;
  std::set<std::string> known_;
};

// A step that changes every response with the document at hand: change(response, document).
template <typename Change>
FilterApply for_each_response(std::string where, Change change) {
  return [where = std::move(where), change = std::move(change)](Json value, const Json& document) {
    if (!value.is_array()) fail(ExitCode::kBadInput, "{}: must come before the step that takes one response", where);
    for (Json& response : value) response = change(response, document);
    return value;
  };
}

// The text of a response; "" for one that is none, as the harness's extractions have it.
std::string response_text(const Json& response);

// What re.findall gives at `select`: the whole match, the only group, or of several groups the first that is not
// empty. Nothing where there is no such match, or all groups are empty.
std::optional<std::string> found_text(const text::Regex& regex, const std::string& text, int64_t select);

// The same without space around; empty where nothing is found.
std::string found_stripped(const text::Regex& regex, const std::string& text, int64_t select);

// Changes that make a response easier to compare: ignore_case, ignore_punctuation, regexes_to_ignore.
class ResponseSimplifier {
 public:
  explicit ResponseSimplifier(FilterArguments& arguments);
  std::string operator()(std::string text) const;

 private:
  std::vector<text::Regex> regexes_to_ignore_;
  std::optional<text::Regex> punctuation_;
  bool ignore_case_ = false;
};

// Looks for a letter by a pattern, then for a choice's own text, then for a letter after a colon. The choices are a
// document's column `choices`, or what stands behind "(A)", "(B)" ... in its column `input`.
FilterApply make_multi_choice(FilterArguments& arguments);
FilterApply make_multi_choice_of_input(FilterArguments& arguments);

}  // namespace evalmpi::task

#include <algorithm>
#include <memory>

#include "filter_steps.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

constexpr const char* kName = "multi_choice_regex";

struct MultiChoice {
  explicit MultiChoice(FilterArguments& arguments)
      : pattern(
            text::Regex::compile(arguments.take_text("regex_pattern", "#### (\\-?[0-9\\.\\,]+)"), arguments.where())),
        simplify(arguments),
        select(arguments.take_integer("group_select", 0)),
        fallback(arguments.take_text("fallback", "[invalid]")) {}

  std::string extract(const std::string& response, const std::vector<std::string>& choices) const {
    if (std::string found = found_stripped(pattern, response, select); !found.empty()) return found;
    std::vector<std::pair<std::string, std::string>> letters;  // text, letter
    std::string alternatives;
    char letter = 'A';
    for (const std::string& choice : choices) {
      letters.emplace_back(simplify(py::strip(choice)), std::string("(") + letter + ")");
      alternatives += (alternatives.empty() ? "" : "|") + std::string(1, letter);
      ++letter;
    }
    if (std::string found = find_choice(letters, simplify(response)); !found.empty()) return found;
    const text::Regex after_colon = text::Regex::compile(":[\\s]*(" + alternatives + ")", kName);
    const std::string bare = found_stripped(after_colon, response, select);
    return bare.empty() ? fallback : "(" + bare + ")";
  }

  // Longer texts first, so that a choice that begins another does not hide it.
  std::string find_choice(const std::vector<std::pair<std::string, std::string>>& letters,
                          const std::string& response) const {
    std::vector<std::string> patterns;
    for (const auto& [text, letter] : letters) patterns.push_back(text::escape_regex(text));
    std::stable_sort(patterns.begin(), patterns.end(),
                     [](const auto& a, const auto& b) { return py::length(a) > py::length(b); });
    const text::Regex any = text::Regex::compile(py::join(patterns, "|"), kName);
    const std::string found = found_stripped(any, response, select);
    if (found.empty()) return found;
    for (auto entry = letters.rbegin(); entry != letters.rend(); ++entry) {
      if (entry->first == found) return entry->second;
    }
    return found;
  }

  text::Regex pattern;
  ResponseSimplifier simplify;
  int64_t select;
  std::string fallback;
};

using Choices = std::vector<std::string>;

Choices column_choices(const Json& document) {
  const auto choices = document.find("choices");
  if (choices == document.end() || !choices->is_array() || choices->empty()) {
    fail(ExitCode::kBadInput, "{}: a document has no list of 1 to 26 choices", kName);
  }
  Choices texts;
  for (const Json& choice : *choices) texts.push_back(py::str(choice));
  return texts;
}

Choices input_choices(const Json& document) {
  const auto input = document.find("input");
  if (input == document.end() || !input->is_string()) {
    fail(ExitCode::kBadInput, "MultiChoiceRegexFilter: a document has no text in the column input");
  }
  static const text::Regex kChoice = text::Regex::compile(R"(\([A-Z]\)([^\n^(]*))", "choices of an input");
  return kChoice.find_all_texts(input->get_ref<const std::string&>());
}

FilterApply make_choice_step(FilterArguments& arguments, Choices (*choices_of)(const Json& document)) {
  auto rule = std::make_shared<const MultiChoice>(arguments);
  return for_each_response(arguments.where(), [rule, choices_of](const Json& response, const Json& document) -> Json {
    const Choices choices = choices_of(document);
    if (choices.size() > 26)
      fail(ExitCode::kBadInput, "{}: a document has {} choices, more than letters", kName, choices.size());
    return rule->extract(response_text(response), choices);
  });
}

}  // namespace

FilterApply make_multi_choice(FilterArguments& arguments) { return make_choice_step(arguments, column_choices); }

FilterApply make_multi_choice_of_input(FilterArguments& arguments) {
  return make_choice_step(arguments, input_choices);
}

}  // namespace evalmpi::task

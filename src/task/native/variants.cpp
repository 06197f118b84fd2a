// Sets that follow a well-known one: plain HellaSwag, MMLU-Pro+, XQuAD, the Winograd challenge of 273.

#include <algorithm>
#include <array>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "squad_scores.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

// Possessive for a possessive pronoun; lower case inside a sentence.
std::string fitting_option(const Json& row, std::string option, bool starts_sentence) {
  constexpr std::array<std::string_view, 5> kPossessive = {"my", "his", "her", "our", "their"};
  constexpr std::array<std::string_view, 11> kUpper = {"A",    "An", "The", "She", "He",   "It",
                                                       "They", "My", "His", "Her", "Their"};
  const std::string pronoun = py::lower(text_of(row, "pronoun"));
  if (std::find(kPossessive.begin(), kPossessive.end(), pronoun) != kPossessive.end()) option += "'s";
  const std::vector<std::string> words = py::split(option);
  if (words.empty()) fail(ExitCode::kBadInput, "the column options holds an empty text");
  const std::string& first = words.front();
  if (starts_sentence || std::find(kUpper.begin(), kUpper.end(), first) == kUpper.end()) return option;
  return py::replace(option, first, py::lower(first));
}

}  // namespace

void plain_hellaswag_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    row["query"] = text_of(row, "activity_label") + ": " + text_of(row, "ctx");
    row["choices"] = list_of(row, "endings");
    row["gold"] = parsed_integer(row, "label");
  });
}

void wsc273_process_doc(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    const std::string text = py::replace(text_of(row, "text"), "  ", " ");
    std::vector<std::string> options = texts_of(row, "options");
    if (options.size() < 2) fail(ExitCode::kBadInput, "the column options must hold two texts");
    const int64_t place = integer_of(row, "pronoun_loc") - 2;
    const std::vector<std::string_view> characters = py::code_points(text);
    const auto count = static_cast<int64_t>(characters.size());
    if (place >= count || place < -count) fail(ExitCode::kBadInput, "the column pronoun_loc is outside the text");
    const bool starts_sentence = characters[static_cast<size_t>(place < 0 ? place + count : place)] == ".";
    for (size_t i = 0; i < 2; ++i) options[i] = fitting_option(row, options[i], starts_sentence);
    row["text"] = text;
    row["options"] = options;
  });
}

MetricValues xquad_process_results(const Json& document, const std::vector<Json>& responses) {
  const std::vector<std::string> answers = texts_of(document, "answers", "text");
  if (answers.empty()) fail(ExitCode::kBadInput, "the column answers holds none");
  const std::string& prediction = only_text(responses);
  return {{"f1", squad_f1(answers.front(), prediction)}, {"exact_match", squad_exact(answers.front(), prediction)}};
}

}  // namespace evalmpi::task::native

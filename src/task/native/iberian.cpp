// Pairs of sentences as the Basque, Catalan, Galician and Spanish benchmarks and PAWS-X show them: one sentence that
// runs on into the other.

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "squad_scores.h"
#include "text_cleaning.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

std::string lower_first(const std::string& text) {
  if (text.empty()) fail(ExitCode::kBadInput, "a sentence is empty");
  return py::lower(py::slice(text, 0, 1)) + py::slice(text, 1, {});
}

std::string without_last(std::string text, std::string_view marks) {
  if (!text.empty() && marks.find(text.back()) != marks.npos) text.pop_back();
  return text;
}

std::string clean(const std::string& text) { return py::strip(general_detokenize(text)); }
std::string as_it_is(const std::string& text) { return text; }

bool is_given(const Json& row, const char* column) {
  const Json& value = value_of(row, column);
  return !value.is_null() && value != "";
}

void pairs(Columns& columns, Rows& rows, const char* first, const char* second,
           std::string (*cleaned)(const std::string&)) {
  keep_rows(rows, [&](const Json& row) { return is_given(row, first) && is_given(row, second); });
  map_rows(columns, rows, [&](Json& row) {
    row[first] = without_last(cleaned(text_of(row, first)), ".,;");
    row[second] = lower_first(cleaned(text_of(row, second)));
  });
}

void premises(Columns& columns, Rows& rows, const char* first, const char* second) {
  map_rows(columns, rows, [&](Json& row) {
    row[first] = without_last(clean(text_of(row, first)), ".,!?");
    std::string hypothesis = lower_first(clean(text_of(row, second)));
    if (!hypothesis.ends_with('.')) hypothesis += '.';
    row[second] = hypothesis;
  });
}

}  // namespace

void paraphrases_process_docs(Columns& columns, Rows& rows) { pairs(columns, rows, "sentence1", "sentence2", clean); }

void galician_paraphrases_process_docs(Columns& columns, Rows& rows) {
  pairs(columns, rows, "Frase", "Paráfrase", clean);
}

void basque_paws_process_docs(Columns& columns, Rows& rows) {
  pairs(columns, rows, "sentence1", "sentence2", as_it_is);
}

void premises_process_docs(Columns& columns, Rows& rows) { premises(columns, rows, "premise", "hypothesis"); }

void galician_premises_process_docs(Columns& columns, Rows& rows) {
  premises(columns, rows, "sentence1", "sentence2");
  map_rows(columns, rows, [](Json& row) {
    const std::string& label = text_of(row, "gold_label");
    int number = 0;
    for (const char* name : {"entailment", "neutral", "contradiction"}) {
      if (label == name) {
        row["gold_label"] = number;
        return;
      }
      ++number;
    }
    fail(ExitCode::kBadInput, "the column gold_label cannot be '{}'", label);
  });
}

void iberian_copa_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) {
    for (const char* column : {"choice1", "choice2"}) row[column] = lower_first(text_of(row, column));
  });
}

MetricValues catalanqa_process_results(const Json& document, const Responses& responses) {
  const Json& answers = list_of(document, "answers");
  if (answers.empty()) fail(ExitCode::kBadInput, "the column answers is empty");
  const std::string& gold = text_of(answers[0], "text");
  const std::string& prediction = only_text(responses);
  return {{"f1", squad_f1(gold, prediction)}, {"exact_match", squad_exact(gold, prediction)}};
}

Json basque_copa_doc_to_text(const Json& document) {
  const std::string& question = text_of(document, "question");
  if (question != "cause" && question != "effect")
    fail(ExitCode::kBadInput, "the column question cannot be '{}'", question);
  return py::strip(text_of(document, "premise")) + (question == "cause" ? " Izan ere," : " Beraz,");
}

Json indonesian_copa_doc_to_text(const Json& document) {
  const std::string& question = text_of(document, "question");
  if (question != "cause" && question != "effect")
    fail(ExitCode::kBadInput, "the column question cannot be '{}'", question);
  const std::string premise = py::strip(text_of(document, "premise"));
  return py::slice(premise, {}, -1) + (question == "cause" ? " karena" : " maka");
}

}  // namespace evalmpi::task::native

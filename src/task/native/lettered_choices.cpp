// Questions whose choices stand in columns of their own: TMLU, TMMLU+ and MMLU-SR.

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

// A to D, and of `more` those that a row has.
void make_questions(Columns& columns, Rows& rows, std::string_view more) {
  map_rows(columns, rows, [&](Json& row) {
    Json choices = Json::array();
    Json letters = Json::array();
    for (const char letter : std::string_view("ABCD")) {
      letters.push_back(std::string(1, letter));
      choices.push_back(value_of(row, letters.back().get<std::string>()));
    }
    for (const char letter : more) {
      const std::string column(1, letter);
      if (!py::truth(row.value(column, Json()))) continue;
      letters.push_back(column);
      choices.push_back(row[column]);
    }
    const auto goal = std::find(letters.begin(), letters.end(), value_of(row, "answer"));
    if (goal == letters.end()) {
      fail(ExitCode::kBadInput, "the column answer must be one of {}, not {}", py::str(letters),
           py::repr(row["answer"]));
    }
    row["questions"] = value_of(row, "question");
    row["choices"] = std::move(choices);
    row["goal"] = goal - letters.begin();
  });
}

}  // namespace

void tmlu_process_docs(Columns& columns, Rows& rows) { make_questions(columns, rows, "EF"); }

void tmmluplus_process_docs(Columns& columns, Rows& rows) { make_questions(columns, rows, ""); }

Json indicparam_doc_to_text(const Json& document) {
  return formatted("Question: {question_text}\nA. {option_a}\nB. {option_b}\nC. {option_c}\nD. {option_d}\nAnswer:",
                   document);
}

Json indicparam_doc_to_choice(const Json& /*document*/) { return {"A", "B", "C", "D"}; }

Json indicparam_doc_to_target(const Json& document) {
  return letter_position({{"correct_answer", py::upper(text_of(document, "correct_answer"))}}, "correct_answer", 4);
}

void mmlusr_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) {
    const auto or_empty = [&](const char* column) {
      const Json& value = value_of(row, column);
      return py::truth(value) ? value : Json("");
    };
    Json choices = Json::array();
    for (const char* column : {"choice1", "choice2", "choice3", "choice4"}) choices.push_back(or_empty(column));
    const Json answer = or_empty("answer");
    if (!answer.is_string()) fail(ExitCode::kBadInput, "the column answer must be text, not {}", py::repr(answer));
    row["choices"] = std::move(choices);
    row["answer"] = py::strip(answer.get<std::string>());
  });
}

namespace {

// "A: .." on a line each, of two to four candidates as they are written.
std::string basque_candidates(const Json& document) {
  const Json& candidates = list_of(document, "candidates");
  if (candidates.size() < 2) fail(ExitCode::kBadInput, "the column candidates has {} items", candidates.size());
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(candidates.size(), 4); ++i) {
    text += std::string(1, static_cast<char>('A' + i)) + ": " + py::str(candidates[i]) + "\n";
  }
  return text + "Erantzuna:";
}

}  // namespace

Json eus_trivia_doc_to_text(const Json& document) {
  return "Galdera: " + py::str(value_of(document, "question")) + "\n" + basque_candidates(document);
}

Json eus_reading_doc_to_text(const Json& document) {
  return "Pasartea: " + py::str(value_of(document, "context")) +
         "\n\nGaldera: " + py::str(value_of(document, "question")) + "\n" + basque_candidates(document);
}

Json eus_doc_to_choice(const Json& document) {
  const size_t count = list_of(document, "candidates").size();
  if (count < 2) fail(ExitCode::kBadInput, "the column candidates has {} items", count);
  Json letters = {"A", "B", "C", "D"};
  if (count < 4) letters.erase(letters.begin() + static_cast<ptrdiff_t>(count), letters.end());
  return letters;
}

}  // namespace evalmpi::task::native

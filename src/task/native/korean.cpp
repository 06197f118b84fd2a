// KoBEST, CSATQA and CLIcK.

#include <algorithm>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

constexpr const char* kExam =
    "다음을 읽고 정답으로 알맞은 것을 고르시요.\n"
    "### Context: {context}\n"
    "### Question: {question}\n"
    "### Options:\n"
    "(1) {option#1}\n(2) {option#2}\n(3) {option#3}\n(4) {option#4}\n(5) {option#5}\n"
    "### Answer: 주어진 문제의 정답은";

}  // namespace

Json kobest_copa_doc_to_text(const Json& document) {
  const std::string question = py::strip(text_of(document, "question"));
  if (question != "원인" && question != "결과")
    fail(ExitCode::kBadInput, "the column question cannot be '{}'", question);
  return py::str(value_of(document, "premise")) + " " + (question == "원인" ? " 왜냐하면" : " 그래서");
}

Json kobest_copa_doc_to_target(const Json& document) {
  return py::str(value_of(document, value_of(document, "label") == 0 ? "alternative_1" : "alternative_2"));
}

Json kobest_copa_doc_to_choice(const Json& document) {
  return Json::array({py::str(value_of(document, "alternative_1")), py::str(value_of(document, "alternative_2"))});
}

void kobest_hellaswag_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) {
    Json endings = Json::array();
    for (const char* column : {"ending_1", "ending_2", "ending_3", "ending_4"})
      endings.push_back(value_of(row, column));
    row["query"] = "문장: " + py::str(value_of(row, "context"));
    row["choices"] = endings;
    row["gold"] = parsed_integer(row, "label");
  });
}

void csatqa_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) {
    row["question"] = formatted(kExam, row);
    row["choices"] = {"(1)", "(2)", "(3)", "(4)", "(5)"};
    row["gold"] = parsed_integer(row, "gold") - 1;
  });
}

namespace {

// Whether a question belongs to one of CLIcK's subjects, by its number: "CSAT_korean_22_35".
struct Numbered {
  const Json& row;
  const std::string& id;

  bool has(std::string_view part) const { return id.find(part) != id.npos; }
  bool has_lower(std::string_view part) const { return py::lower(id).find(part) != std::string::npos; }
  std::string piece(int64_t place) const {
    const std::vector<std::string> pieces = py::split(id, "_");
    const int64_t at = place < 0 ? place + static_cast<int64_t>(pieces.size()) : place;
    if (at < 0 || at >= static_cast<int64_t>(pieces.size())) fail(ExitCode::kBadInput, "the id '{}' is too short", id);
    return pieces[static_cast<size_t>(at)];
  }
  int64_t number(int64_t place) const { return parsed_integer({{"id", piece(place)}}, "id"); }
  bool is_of_talk() const {
    const std::string& question = text_of(row, "question");
    return question.find("대화") != question.npos || question.find("발화") != question.npos ||
           question.find("질의") != question.npos;
  }
};

bool is_text(const Numbered& one) {
  return one.has("CSAT_korean_22") || (one.has("CSAT_korean_23") && one.number(-1) < 35) ||
         (one.has("TK") && one.number(-1) > 4);
}

bool is_grammar(const Numbered& one) {
  return (one.has("CSAT_korean") && one.number(2) < 21 && one.number(3) > 10) ||
         (one.has("Kedu_1") && (one.piece(1) != "16" || !one.is_of_talk())) || (one.has("TK") && one.number(-1) < 5);
}

bool is_function_of_language(const Numbered& one) {
  return (one.has("CSAT_korean") && (one.number(-1) > 34 || (one.number(2) < 21 && one.number(3) < 11))) ||
         (one.has("Kedu_16") && one.is_of_talk()) || one.has("PSE_korean");
}

bool is_history(const Numbered& one) { return one.has("KHB") || one.has_lower("history"); }
bool is_law(const Numbered& one) { return one.has_lower("law") || one.has("PSAT"); }

struct ClickSubject {
  std::string_view name;
  bool (*holds)(const Numbered&);
};

constexpr ClickSubject kClickSubjects[] = {
    {"economy", [](const Numbered& one) { return one.has_lower("economy"); }},
    {"geography", [](const Numbered& one) { return one.has_lower("geography"); }},
    {"history", is_history},
    {"law", is_law},
    {"politics", [](const Numbered& one) { return one.has_lower("politics"); }},
    {"kpop", [](const Numbered& one) { return one.has_lower("popular"); }},
    {"society", [](const Numbered& one) { return one.has_lower("society"); }},
    {"tradition", [](const Numbered& one) { return one.has_lower("tradition"); }},
    {"text", is_text},
    {"grammar", is_grammar},
    {"function", is_function_of_language},
};

}  // namespace

// extract_law and so on
void click_extract(Columns&, Rows& rows, std::string_view path) {
  const std::string_view name = path.substr(path.rfind('_') + 1);
  for (const ClickSubject& subject : kClickSubjects) {
    if (subject.name != name) continue;
    return keep_rows(rows, [&](const Json& row) { return subject.holds({row, text_of(row, "id")}); });
  }
  fail(ExitCode::kBadInput, "CLIcK has no subject '{}'", name);
}

Json click_doc_to_text(const Json& document) {
  const Json& choices = list_of(document, "choices");
  if (choices.size() < 4) fail(ExitCode::kBadInput, "the column choices has fewer than 4 items");
  const Json& context = value_of(document, "paragraph");
  const std::string where = py::truth(context) ? "주어진 맥락을 천천히 읽고, 질문에 대한 적절한 정답을"
                                               : "주어진 질문을 천천히 읽고, 적절한 정답을";
  std::string text = where + " A, B, C, D 중에 골라 알파벳 하나로 답하시오.\n\n";
  if (py::truth(context)) text += "맥락: " + py::str(context) + "\n";
  text += "질문: " + py::str(value_of(document, "question")) + "\n보기:\n";
  for (size_t i = 0; i < 4; ++i) {
    text +=
        (i == 0 ? "" : ", ") + std::string(1, static_cast<char>('A' + i)) + (i == 0 ? ":" : ": ") + py::str(choices[i]);
  }
  return text + "\n정답:";
}

Json click_doc_to_choice(const Json& document) {
  const bool is_exam = text_of(document, "id").find("CSAT") != std::string::npos;
  return is_exam ? Json({"A", "B", "C", "D", "E"}) : Json({"A", "B", "C", "D"});
}

Json click_doc_to_target(const Json& document) {
  const Json& choices = list_of(document, "choices");
  const auto found = std::find(choices.begin(), choices.end(), value_of(document, "answer"));
  const Json letters = click_doc_to_choice(document);
  const auto place = static_cast<size_t>(found - choices.begin());
  if (found == choices.end() || place >= letters.size()) fail(ExitCode::kBadInput, "the column answer is no choice");
  return letters[place];
}

}  // namespace evalmpi::task::native

// KoBEST and CSATQA.

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

}  // namespace evalmpi::task::native

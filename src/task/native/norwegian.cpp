// NorEval: Norwegian quizzes, idioms, and questions on a text.

#include <algorithm>
#include <cctype>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "squad_scores.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

struct QuizPrompt {
  std::string_view name;  // the end of the function's path
  const char* text;       // for str.format with question, choices and labels
  bool is_lettered = false;
};

constexpr QuizPrompt kQuizPrompts[] = {
    {"nrk_quiz_qa/nno/utils.p1_nn", "{question}\n\nSvaralternativer:{choices}\n\nKva er rett svar?\n\nSvar:"},
    {"nrk_quiz_qa/nno/utils.p2_nn", "{question}{choices}\n\nEr det rette svaret {labels}?\n\nSvar:", true},
    {"nrk_quiz_qa/nno/utils.p3_nn", "Spørsmål: {question}{choices}\n\nSvar:", true},
    {"nrk_quiz_qa/nno/utils.p4_nn", "{question}\nVel rett svar blant desse alternativa:{choices}\n\nSvar:"},
    {"nrk_quiz_qa/nob/utils.p1_nb", "{question}\n\nSvaralternativer:{choices}\n\nHva er riktig svar?\n\nSvar:"},
    {"nrk_quiz_qa/nob/utils.p2_nb", "{question}{choices}\n\nEr det riktige svaret {labels}?\n\nSvar:", true},
    {"nrk_quiz_qa/nob/utils.p3_nb", "Spørsmål: {question}{choices}\n\nSvar:", true},
    {"nrk_quiz_qa/nob/utils.p4_nb", "{question}\nVelg riktig svar blant disse alternativene:{choices}\n\nSvar:"},
    {"multiple_choice/nno/utils.p1_nn", "Spørsmål: {question}\n\nSvaralternativ:{choices}\n\nSvar:"},
    {"multiple_choice/nno/utils.p2_nn",
     "Spørsmål: {question}\n\nKva av følgande alternativ er rett svar på spørsmålet?{choices}"},
    {"multiple_choice/nno/utils.p3_nn",
     "Gitt følgande spørsmål, kva av dei moglege svara under er rett?\nSpørsmål: {question}\n{choices}"},
    {"multiple_choice/nno/utils.p4_nn", "{question}\nVel eit av følgande moglege svar:{choices}\n\nSvar:"},
    {"multiple_choice/nob/utils.p1_nb", "Spørsmål: {question}\n\nSvaralternativer:{choices}\n\nSvar:"},
    {"multiple_choice/nob/utils.p2_nb",
     "Spørsmål: {question}\n\nHvilke av følgende alternativer er riktig svar på spørsmålet?{choices}"},
    {"multiple_choice/nob/utils.p3_nb",
     "Gitt følgende spørsmål, hvilket av de mulige svarene under er riktig?\nSpørsmål: {question}\n{choices}"},
    {"multiple_choice/nob/utils.p4_nb", "{question}\nVelg et av følgende mulige svar:{choices}\n\nSvar:"},
};

constexpr const char* kBareQuestion = "Spørsmål: {question}\n\nSvar:";

const QuizPrompt* prompt_of(std::string_view path) {
  for (const QuizPrompt& row : kQuizPrompts) {
    if (path.ends_with(row.name)) return &row;
  }
  return nullptr;
}

// "A, B, eller C"
std::string enumerated(const std::vector<std::string>& labels) {
  if (labels.empty()) fail(ExitCode::kBadInput, "the column choices has no label");
  std::string text = py::join({labels.begin(), labels.end() - 1}, ", ") + ", eller " + labels.back();
  return labels.size() == 2 ? py::replace(text, ", eller", " eller") : text;
}

std::string listed(const std::vector<std::string>& choices) {
  std::string text;
  for (const std::string& choice : choices) text += "\n- " + choice;
  return text;
}

std::string without_marks(std::string_view text) {
  std::string plain;
  for (const char character : text) {
    if (std::ispunct(static_cast<unsigned char>(character)) == 0) plain += character;
  }
  return plain;
}

}  // namespace

Json norwegian_quiz_prompt(const Json& document, std::string_view path) {
  Json fields = {{"question", value_of(document, "question")}};
  const QuizPrompt* prompt = prompt_of(path);
  if (prompt == nullptr) return formatted(kBareQuestion, fields);
  if (!prompt->is_lettered) {
    const bool is_quiz = path.find("nrk_quiz_qa/") != path.npos;
    fields["choices"] =
        listed(is_quiz ? texts_of(document, "choices", "text") : texts_of(document, "mc1_targets", "choices"));
    return formatted(prompt->text, fields);
  }
  const std::vector<std::string> labels = texts_of(document, "choices", "label");
  const std::vector<std::string> texts = texts_of(document, "choices", "text");
  std::string choices;
  for (size_t i = 0; i < std::min(labels.size(), texts.size()); ++i) choices += "\n" + labels[i] + ": " + texts[i];
  fields["choices"] = choices;
  fields["labels"] = enumerated(labels);
  return formatted(prompt->text, fields);
}

void noropenbookqa_filter(Columns&, Rows& rows) {
  keep_rows(rows, [](const Json& row) { return !text_of(row, "fact").empty(); });
}

// filter_dataset_nb, filter_dataset_nn
void noridiom_filter(Columns&, Rows& rows, std::string_view path) {
  const char* language = path.ends_with("_nb") ? "nob" : "nno";
  keep_rows(rows, [&](const Json& row) { return text_of(row, "language") == language; });
}

MetricValues noridiom_process_results(const Json& document, const Responses& responses) {
  const auto normal = [](std::string_view text) { return py::strip(py::lower(without_marks(text))); };
  const std::string prediction = normal(only_text(responses));
  int exact = 0;
  double f1 = 0;
  const std::vector<std::string> accepted = texts_of(document, "accepted_completions");
  if (accepted.empty()) fail(ExitCode::kBadInput, "the column accepted_completions is empty");
  for (const std::string& one : accepted) {
    const std::string gold = normal(one);
    exact = std::max(exact, prediction == gold ? 1 : 0);
    const std::vector<std::string> gold_words = py::split(gold);
    const std::vector<std::string> words = py::split(prediction);
    const bool is_bare = gold_words.empty() || words.empty();
    f1 = std::max(f1, is_bare ? (gold_words == words ? 1.0 : 0.0) : word_f1(gold_words, words));
  }
  return {{"em", exact}, {"fscore", f1}};
}

void norquad_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) {
    const std::string context = py::strip(text_of(row, "context"));
    const size_t end = std::min(context.find('\n'), context.size());
    row["title"] = py::strip(context.substr(0, end));
    row["passage"] = py::strip(context.substr(std::min(end + 1, context.size())));
    row["question"] = py::join(py::split(text_of(row, "question")), " ");
  });
}

MetricValues norquad_process_results(const Json& document, const Responses& responses) {
  const std::vector<std::string> answers = texts_of(document, "answers", "text");
  if (answers.empty()) fail(ExitCode::kBadInput, "the column answers is empty");
  const std::string& prediction = only_text(responses);
  return {{"f1", squad_f1(answers.front(), prediction)}, {"exact_match", squad_exact(answers.front(), prediction)}};
}

}  // namespace evalmpi::task::native

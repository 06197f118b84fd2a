// AraDiCE: ArabicMMLU asked in Egyptian and in Levantine Arabic.

#include <algorithm>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

struct Phrase {
  const char* name;
  const char* egyptian;
  const char* levantine;
};

constexpr Phrase kLevels[] = {
    {"Primary", "للمرحلة الابتدائية", "للمرحلة الابتدائية"},
    {"Middle", "للمرحلة المتوسطة", "للمرحلة المتوسطة"},
    {"High", "للمرحلة الثانوية", "للمرحلة الثانوية"},
    {"Univ", "للمرحلة الجامعية ", "للمرحلة الجامعية "},
    {"Prof", "للمحترفين", "للمحترفين"},
};

constexpr Phrase kCountries[] = {
    {"UAE", "في الإمارات", "بالإمارات"},   {"Egypt", "في مصر", "بمصر"},         {"Lebanon", "في لبنان", "بلبنان"},
    {"Jordan", "في الأردن", "بالأردن"},    {"Kuwait", "في الكويت", "بالكويت"},  {"KSA", "في السعودية", "بالسعودية"},
    {"Palestine", "في فلسطين", "بفلسطين"}, {"Morocco", "في المغرب", "بالمغرب"},
};

constexpr Phrase kSubjects[] = {
    {"Islamic Studies", "في الدراسات إسلامية", "عن الدراسات إسلامية"},
    {"Driving Test", "في اختبار القيادة", "عن فحص السواقة"},
    {"Natural Science", "في العلوم الطبيعية", "عن العلوم الطبيعية"},
    {"History", "في مادة التاريخ", "تاريخ"},
    {"General Knowledge", "في المعرفة العامة", "معرفة عامة"},
    {"Law", "في القانون", "عن القانون"},
    {"Physics", "في الفيزياء", "فيزياء"},
    {"Social Science", "في العلوم الاجتماعية", "علوم اجتماعية"},
    {"Management", "في الإدارة", "عن الإدارة"},
    {"Arabic Language", "في اللغة العربية", "عن اللغة العربية"},
    {"Political Science", " في العلوم السياسية", " عن العلوم السياسية"},
    {"Philosophy", "في الفلسفة", "فلسفة"},
    {"Accounting", "في المحاسبة", "محاسبة"},
    {"Computer Science", "في علوم الحاسوب", "عن علوم الحاسوب"},
    {"Geography", "في الجغرافيا", "جغرافيا"},
    {"Math", "في الرياضيات", "رياضيات"},
    {"Biology", "في علم الأحياء", "بيولوجي"},
    {"Economics", "في الاقتصاد", "اقتصاد"},
    {"Arabic Language (General)", "في اللغة العربية (عام)", "لغة العربية (عام)"},
    {"Arabic Language (Grammar)", "في اللغة العربية (النحو)", "لغة العربية (نحو)"},
    {"Civics", "في التربية المدنية", "تربية مدنية"},
};

struct Dialect {
  const char* Phrase::*words;
  const char* intro;
  const char* request;
  const char* answer;
};

constexpr Dialect kEgyptian = {&Phrase::egyptian, "ده سؤال ", ". اختار الإجابة الصحيحة!\n\nسؤال: ", "\n\nإجابة:"};
constexpr Dialect kLevantine = {&Phrase::levantine, "هيدا سؤال ", ". نقي الجواب الصح!\n\nسؤال: ", "\n\nالجواب:"};

template <size_t N>
std::string phrase_for(const Phrase (&phrases)[N], const Dialect& dialect, const Json& row, std::string_view column) {
  const std::string& name = text_of(row, column);
  const auto found =
      std::find_if(std::begin(phrases), std::end(phrases), [&](const Phrase& p) { return name == p.name; });
  if (found == std::end(phrases)) fail(ExitCode::kBadInput, "the column {} has the unknown value '{}'", column, name);
  return found->*dialect.words;
}

void ask_in(const Dialect& dialect, Columns& columns, Rows& rows) {
  constexpr std::pair<char, const char*> kLetters[] = {{'A', "أ"}, {'B', "ب"}, {'C', "ج"}, {'D', "د"}, {'E', "و"}};
  map_rows(columns, rows, [&](Json& row) {
    std::string about = phrase_for(kSubjects, dialect, row, "Subject");
    if (py::truth(value_of(row, "Level"))) about += " " + phrase_for(kLevels, dialect, row, "Level");
    if (py::truth(value_of(row, "Country"))) about += " " + phrase_for(kCountries, dialect, row, "Country");
    const Json& context = value_of(row, "context");
    std::string question = py::str(value_of(row, "question"));
    if (py::truth(context)) question = py::str(context) + "\n\n" + question;
    const Json& given = value_of(row, "options");
    std::string options;
    Json choices = Json::array();
    for (const auto& [letter, arabic] : kLetters) {
      const Json option = given.is_object() ? given.value(std::string(1, letter), Json()) : Json();
      if (option.is_null()) break;
      options += (choices.empty() ? "" : "\n") + std::string(arabic) + "- " + py::str(option);
      choices.push_back(arabic);
    }
    // What stands for the parts is replaced one after the other, in what was put in before too.
    std::string prompt = dialect.intro + about + dialect.request + "[INPUT]\n[OPTION]" + dialect.answer;
    prompt = py::replace(py::replace(prompt, "[INPUT]", question), "[OPTION]", options);
    row["prompt"] = std::move(prompt);
    row["choices"] = std::move(choices);
    row["target"] = letter_position(row, "Answer Key", 5);
  });
}

}  // namespace

namespace {

void answer_in_words(Rows& rows, Columns& columns, const char* yes, const char* no) {
  map_rows(columns, rows, [&](Json& row) {
    std::string question = py::strip(text_of(row, "question"));
    for (const std::string_view mark : {"?", "؟"}) {
      if (!question.ends_with(mark)) continue;
      question.resize(question.size() - mark.size());
      break;
    }
    const Json& answer = value_of(row, "answer");
    if (answer != true && answer != false && answer != "true" && answer != "false") {
      fail(ExitCode::kBadInput, "the column answer must be true or false, not {}", py::repr(answer));
    }
    row["target"] = answer == true || answer == "true" ? yes : no;
    row["question"] = py::strip(question);
  });
}

// [{"label": .., "text": ..}, ..] of a question.
std::vector<std::string> parts_of_choices(const Json& document, std::string_view part) {
  std::vector<std::string> parts;
  for (const Json& choice : list_of(value_of(document, "question"), "choices")) parts.push_back(text_of(choice, part));
  return parts;
}

}  // namespace

void aradice_boolq_process_docs(Columns& columns, Rows& rows) { answer_in_words(rows, columns, "نعم", "لا"); }
void aradice_english_boolq_process_docs(Columns& columns, Rows& rows) { answer_in_words(rows, columns, "yes", "no"); }

Json aradice_openbookqa_doc_to_text(const Json& document) {
  return py::strip(text_of(value_of(document, "question"), "stem"));
}

Json aradice_openbookqa_doc_to_choice(const Json& document) { return parts_of_choices(document, "text"); }

Json aradice_openbookqa_doc_to_target(const Json& document) {
  const std::vector<std::string> labels = parts_of_choices(document, "label");
  const std::string key = py::lstrip(text_of(document, "answerKey"));
  const auto found = std::find(labels.begin(), labels.end(), key);
  if (found == labels.end()) fail(ExitCode::kBadInput, "the column answerKey names no choice: '{}'", key);
  return found - labels.begin();
}

void aradice_egyptian_process_docs(Columns& columns, Rows& rows) { ask_in(kEgyptian, columns, rows); }
void aradice_levantine_process_docs(Columns& columns, Rows& rows) { ask_in(kLevantine, columns, rows); }

void aradice_cultural_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) {
    row["choices"] = Json::array({value_of(row, "Option A"), value_of(row, "Option B"), value_of(row, "Option C")});
  });
}

}  // namespace evalmpi::task::native

// Arabic and Greek examinations: the Open Arabic LLM Leaderboard, ArabicMMLU and its dialects, GreekMMLU;
// DarijaBench's feelings.

#include <algorithm>
#include <array>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/task/python_random.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

const std::vector<std::string> kLetters = {"أ", "ب", "ج", "د"};
constexpr const char* kAnswer = "الإجابة:";
constexpr const char* kWithAnswers = "الأسئلة التالية هي أسئلة متعددة الإختيارات مع الجواب الصحيح";

std::string printed(const Json& row, std::string_view column) { return py::str(value_of(row, column)); }

// " about <subject>", with the blank line that follows.
std::string about_subject(const Json& row) {
  return std::string(kWithAnswers) + " حول " + py::replace(text_of(row, "subject"), "_", " ") + ". \n\n";
}

void set_question(Json& row, std::string query, Json choices, Json gold) {
  row["query"] = std::move(query);
  row["choices"] = std::move(choices);
  row["gold"] = std::move(gold);
}

using Words = std::pair<const char*, const char*>;

template <size_t N>
std::string word_for(const std::array<Words, N>& words, const Json& row, std::string_view column) {
  const std::string& key = text_of(row, column);
  for (const Words& one : words) {
    if (key == one.first) return one.second;
  }
  fail(ExitCode::kBadInput, "the column {} has the unknown value '{}'", column, key);
}

}  // namespace

void arabic_letters_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    std::string query = about_subject(row) + printed(row, "question") + "\n";
    for (size_t i = 0; i < kLetters.size(); ++i)
      query += kLetters[i] + ". " + printed(row, std::string(1, static_cast<char>('A' + i))) + "\n";
    set_question(row, query + kAnswer, kLetters, letter_position(row, "answer", 26));
  });
}

void arabic_exams_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    std::string query = about_subject(row) + "السؤال: " + printed(row, "question") + "\n";
    for (size_t i = 0; i < kLetters.size(); ++i) {
      query += (i == 0 ? " " : "\n ") + kLetters[i] + ") " + printed(row, std::string(1, static_cast<char>('A' + i)));
      query += "\n";
    }
    set_question(row, query + "\n" + kAnswer, kLetters, letter_position(row, "answer", 26));
  });
}

// Every column but the question and the answer is a choice.
void arabic_numbers_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    std::string query = std::string(kWithAnswers) + "\n\nالسؤال: " + printed(row, "query") + "\n";
    Json choices = Json::array();
    for (const auto& [column, value] : row.items()) {
      if (column == "query" || column == "label" || column == "__few_shots") continue;
      query += fmt::format("{}) {}\n", choices.size(), py::str(value));
      choices.push_back(value);
    }
    const int64_t label = parsed_integer(row, "label");
    set_question(row, query + kAnswer, choices, label);
  });
}

void arabic_true_false_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    const std::string& answer = text_of(row, "answer");
    if (answer != "صح" && answer != "خطأ") {
      fail(ExitCode::kBadInput, "the column answer must be صح or خطأ, not '{}'", answer);
    }
    set_question(row, "السؤال: " + printed(row, "question") + "\n" + kAnswer, {"صح", "خطأ"}, answer == "صح" ? 0 : 1);
  });
}

void arabic_boolq_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    const std::string query = "بناء على المقطع التالي، أجب عن السؤال ب نعم أو لا\n        المقطع :\n        " +
                              printed(row, "passage") + "\n        السؤال:\n        " + printed(row, "question") +
                              "\n        الإجابة:\n        ";
    set_question(row, query, {"نعم", "لا"}, py::truth(value_of(row, "answer")) ? 0 : 1);
  });
}

void arabic_copa_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  constexpr std::array<Words, 2> kQuestions = {{{"cause", "لأن"}, {"effect", "لذلك"}}};
  map_rows(columns, rows, [&](Json& row) {
    const std::string query = printed(row, "premise") + "، " + word_for(kQuestions, row, "question") + " :\n0) " +
                              printed(row, "choice1") + "\n1) " + printed(row, "choice2") + "\n" + kAnswer;
    set_question(row, query, Json::array({value_of(row, "choice1"), value_of(row, "choice2")}), value_of(row, "label"));
  });
}

void arabic_hellaswag_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  const text::Regex brackets = text::Regex::compile(R"(\[.*?])", "");
  map_rows(columns, rows, [&](Json& row) {
    std::string query =
        "بناء على السياق التالي، اختر النهاية الصحيحة من الاقتراحات التالية\n        السياق:\n        " +
        brackets.replace_all(text_of(row, "ctx"), "") + "\n        الاقتراحات:\n\n        ";
    Json endings = Json::array();
    for (const Json& ending : literal_list(row, "endings")) {
      if (!ending.is_string()) fail(ExitCode::kBadInput, "the column endings must hold texts");
      endings.push_back(brackets.replace_all(ending.get<std::string>(), ""));
      query += fmt::format("{}) {}\n", endings.size() - 1, endings.back().get<std::string>());
    }
    set_question(row, query + kAnswer, endings, value_of(row, "label"));
  });
}

void arabic_toxigen_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    const std::string query =
        "هل العبارة التالية تحض على الكراهية؟ قم بالرد بـ\"نعم\" أو \"لا\".\n        العبارة:\n        '" +
        printed(row, "text") + "'\n        الإجابة:\n        ";
    const bool is_toxic = number_of(row, "toxicity_ai") + number_of(row, "toxicity_human") > 5.5;
    set_question(row, query, {"لا", "نعم"}, is_toxic ? 1 : 0);
  });
}

namespace {

// "A. <option>" and so on, a line each.
std::string lettered(const std::vector<std::string>& letters, const std::vector<std::string>& options) {
  if (options.size() > letters.size()) {
    fail(ExitCode::kBadInput, "a question has {} choices, not at most {}", options.size(), letters.size());
  }
  std::string lines;
  for (size_t i = 0; i < options.size(); ++i) lines += (i == 0 ? "" : "\n") + letters[i] + " " + options[i];
  return lines;
}

std::vector<std::string> printed_choices(const Json& document) {
  std::vector<std::string> options;
  for (const Json& choice : list_of(document, "choices")) options.push_back(py::str(choice));
  return options;
}

const std::vector<std::string> kLatin = {"A.", "B.", "C.", "D.", "E."};
const std::vector<std::string> kGreek = {"Α.", "Β.", "Γ.", "Δ."};

// The letters without their stops.
Json bare_letters(const std::vector<std::string>& letters, size_t count) {
  if (count > letters.size()) {
    fail(ExitCode::kBadInput, "a question has {} choices, not at most {}", count, letters.size());
  }
  Json bare = Json::array();
  for (size_t i = 0; i < count; ++i) bare.push_back(letters[i].substr(0, letters[i].size() - 1));
  return bare;
}

// The question behind its context, where there is one.
std::string question_in_context(const Json& document) {
  const std::string context = printed(document, "context");
  return (context.empty() ? "" : context + "\n\n") + printed(document, "question");
}

std::string dialect_question(const Json& document, const char* intro, const char* subject, const char* answer) {
  return intro + printed(document, subject) + "\n\n" + question_in_context(document) + "\n" +
         lettered(kLatin, printed_choices(document)) + "\n" + answer;
}

bool is_given(const Json& document, const std::string& column) { return py::truth(value_of(document, column)); }

}  // namespace

Json darijammlu_doc_to_text(const Json& document) {
  return dialect_question(document, "هادا سؤال متعدد الخيارات (مع الجواب ديالو) على ", "subject_darija", "الجواب:");
}

Json egymmlu_doc_to_text(const Json& document) {
  return dialect_question(document, "ده سؤال متعدد الاختيار (مع إجابته) على ", "egy_subject", " الجواب:");
}

Json latin_letters_doc_to_choice(const Json& document) {
  return bare_letters(kLatin, list_of(document, "choices").size());
}

Json arabicmmlu_doc_to_text(const Json& document) {
  constexpr std::array<Words, 5> kLevels = {{{"Primary", "primary school"},
                                             {"Middle", "middle school"},
                                             {"High", "high school"},
                                             {"Univ", "university"},
                                             {"Prof", "professional"}}};
  std::string about = printed(document, "Subject") + " question";
  if (is_given(document, "Level")) about += " for " + word_for(kLevels, document, "Level");
  if (is_given(document, "Country")) about += " in " + text_of(document, "Country");
  std::string question = printed(document, "Question");
  if (is_given(document, "Context")) question = printed(document, "Context") + "\n\n" + question;
  std::vector<std::string> options;
  for (int i = 1; i <= 5 && is_given(document, fmt::format("Option {}", i)); ++i)
    options.push_back(printed(document, fmt::format("Option {}", i)));
  return "This is a " + about + ". Select the correct answer!\n\nQuestion: " + question + "\n" +
         lettered(kLatin, options) + "\n\nAnswer:";
}

Json arabicmmlu_doc_to_choice(const Json& document) {
  Json letters = Json::array();
  for (int i = 0; i < 5; ++i) {
    if (is_given(document, fmt::format("Option {}", i + 1)))
      letters.push_back(std::string(1, static_cast<char>('A' + i)));
  }
  return letters;
}

Json greekmmlu_doc_to_text(const Json& document) {
  constexpr std::array<Words, 30> kSubjects = {
      {{"Economics", "Οικονομικών"},
       {"Education", "Παιδαγωγικής"},
       {"Medicine", "Ιατρικής"},
       {"Electrical Engineering", "Ηλεκτρολόγων Μηχανικών"},
       {"Greek Mythology", "Ελληνικής Μυθολογίας"},
       {"Computer Networks & Security", "Δικτύων Υπολογιστών και Ασφάλειας"},
       {"Law", "Νομικής"},
       {"Physics", "Φυσικής"},
       {"Government and Politics", "Διακυβέρνησης και Πολιτικής"},
       {"Art", "Τέχνης"},
       {"Greek Literature", "Νεοελληνικής Λογοτεχνίας"},
       {"World History", "Παγκόσμιας Ιστορίας"},
       {"General Knowledge", "Γενικών Γνώσεων"},
       {"World Religions", "Παγκόσμιων Θρησκειών"},
       {"Mathematics", "Μαθηματικών"},
       {"Clinical Knowledge", "Κλινικών Γνώσεων"},
       {"Driving Rules", "Κανόνων Οδικής Κυκλοφορίας"},
       {"Biology", "Βιολογίας"},
       {"Civil Engineering", "Πολιτικών Μηχανικών"},
       {"Computer Science", "Επιστήμης Υπολογιστών"},
       {"Geography", "Γεωγραφίας"},
       {"Chemistry", "Χημείας"},
       {"Prehistory", "Προϊστορίας"},
       {"Agriculture", "Γεωργίας"},
       {"Modern Greek Language", "Νεοελληνικής Γλώσσας"},
       {"Accounting", "Λογιστικής"},
       {"Greek History", "Ελληνικής Ιστορίας"},
       {"Management", "Διοίκησης Επιχειρήσεων"},
       {"Greek Traditions", "Ελληνικών Παραδόσεων"},
       {"Maritime Safety and Rescue Operations", "Ναυαγοσωστικων Λειτουργιών και Ασφάλειας στη Θάλασσα"}}};
  std::string subject = printed(document, "subject");
  const auto known =
      std::find_if(kSubjects.begin(), kSubjects.end(), [&](const Words& words) { return words.first == subject; });
  if (known != kSubjects.end()) subject = known->second;
  return "Αυτό είναι μια ερώτηση " + subject +
         ". Επίλεξε τη σωστή απάντηση!\n\nΕρώτηση: " + printed(document, "question") + "\n" +
         lettered(kGreek, printed_choices(document)) + "\n\n Απάντηση:";
}

Json greekmmlu_doc_to_choice(const Json& document) { return bare_letters(kGreek, list_of(document, "choices").size()); }

Json darija_sentiment_doc_to_text(const Json& document) {
  const Json& messages = list_of(document, "messages");
  if (messages.empty()) fail(ExitCode::kBadInput, "the column messages is empty");
  std::string text = py::replace(text_of(messages[0], "content"), "-سلبي", "A. سلبي");
  text = py::replace(text, "-ايجابي", "B. ايجابي");
  return py::replace(text, "-ماكينش إحساس",
                     "C. ماكينش إحساس\nThe answer should be strictly one letter of the following: A, B, C.");
}

Json darija_sentiment_doc_to_target(const Json& document) {
  const Json& messages = list_of(document, "messages");
  if (messages.size() < 2) fail(ExitCode::kBadInput, "the column messages has no answer");
  const std::string& answer = text_of(messages[1], "content");
  if (answer == "سلبي") return "A";
  if (answer == "ايجابي") return "B";
  if (answer == "ماكينش إحساس") return "C";
  fail(ExitCode::kBadInput, "the answer cannot be '{}'", answer);
}

Json two_letters_doc_to_choice(const Json& /*document*/) { return {"A", "B"}; }
Json three_letters_doc_to_choice(const Json& /*document*/) { return {"A", "B", "C"}; }

void arabic_sciq_process_docs(Columns& columns, Rows& rows) {
  PythonRandom random(42);
  map_rows(columns, rows, [&](Json& row) {
    Json choices = Json::array();
    for (const char* column : {"distractor1", "distractor2", "distractor3", "correct_answer"}) {
      choices.push_back(value_of(row, column));
    }
    random.shuffle(choices.get_ref<Json::array_t&>());
    row["query"] = formatted(
        "بناءً على السياق أدناه، اختر الإجابة الصحيحة للسؤال التالي من قائمة الاقتراحات\n"
        "    السياق:\n    {support}\n    السؤال:\n    {question}\n    الإجابات المحتملة:\n\n    ",
        row);
    row["choices"] = choices;
    row["gold"] = std::find(choices.begin(), choices.end(), value_of(row, "correct_answer")) - choices.begin();
  });
}

}  // namespace evalmpi::task::native

// InfiniteBench: questions on very long texts, with one short answer each.

#include <algorithm>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "python_float.h"
#include "squad_scores.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

constexpr const char* kChinesePunctuation =
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟"
    "〰〾〿–—‛„‟…‧﹏.";

std::string cleaned(const Responses& responses) {
  static const text::Regex kControl = text::Regex::compile(R"([\x00-\x1f])", "infinitebench");
  return py::strip(kControl.replace_all(py::strip(only_text(responses)), " "));
}

// Without answers nothing is right.
std::vector<std::string> answers_of(const Json& document) {
  return document.contains("answer") ? texts_of(document, "answer") : std::vector<std::string>();
}

std::string spaced(std::string text, std::string_view characters) {
  for (char& character : text) {
    if (characters.find(character) != characters.npos) character = ' ';
  }
  return text;
}

MetricValues scored(double score) { return {{"score", score}}; }

template <typename IsRight>
MetricValues any_answer(const Json& document, IsRight is_right) {
  const std::vector<std::string> answers = answers_of(document);
  const bool is_any = std::any_of(answers.begin(), answers.end(),
                                  [&](const std::string& answer) { return is_right(py::strip(answer)); });
  return scored(is_any ? 1 : 0);
}

std::string option(const Json& document, size_t place) {
  const std::vector<std::string> options = texts_of(document, "options");
  return place < options.size() ? options[place] : "";
}

std::string lettered_options(const Json& document) {
  std::string text;
  for (size_t i = 0; i < 4; ++i) {
    text += (i == 0 ? "" : "\n") + std::string(1, static_cast<char>('A' + i)) + ". " + option(document, i);
  }
  return text;
}

bool is_letter_up_to(std::string_view text, char last) { return text.size() == 1 && text[0] >= 'A' && text[0] <= last; }

// The letter of the option that is the answer; empty where there is none.
std::string letter_of_answer(const Json& document) {
  const std::vector<std::string> answers = answers_of(document);
  const std::vector<std::string> options = texts_of(document, "options");
  if (answers.empty() || options.empty()) return "";
  const std::string answer = py::strip(answers.front());
  for (size_t i = 0; i < options.size(); ++i) {
    if (py::strip(options[i]) == answer) return std::string(1, static_cast<char>('A' + i));
  }
  const bool is_letter = py::length(answer) == 1 && is_letter_up_to(py::upper(answer), 'J');
  return is_letter ? py::upper(answer) : "";
}

// The last letter that stands alone.
std::string last_letter(const std::string& text, const text::Regex& letters) {
  const std::vector<std::string> found = letters.find_all_texts(text);
  return found.empty() ? "" : found.back();
}

// What follows the first of the prefixes that the text has, in any case; nothing where it has none.
std::optional<std::string> after(const std::string& text, std::string_view prefix) {
  const std::optional<size_t> place = py::find(py::lower(text), prefix);
  if (!place) return {};
  return py::strip(py::slice(text, static_cast<int64_t>(*place + prefix.size()), {}));
}

std::string first_upper(const std::string& text) { return py::upper(py::slice(text, 0, 1)); }

double choice_score(const std::string& prediction, const std::string& label) {
  static const text::Regex kLetter = text::Regex::compile(R"(\b([A-D])\b)", "infinitebench");
  const auto is_right = [&](const std::string& letter) { return letter == label ? 1.0 : 0.0; };
  if (label.empty() || prediction.empty()) return 0;
  const std::string letter = last_letter(prediction, kLetter);
  if (!letter.empty()) return is_right(letter);
  const std::string first = py::slice(prediction, 0, 1);
  if (is_letter_up_to(first, 'D')) return is_right(first);
  if (py::upper(prediction) == label) return 1;
  const std::string plain = spaced(prediction, "\n\"'.,?!{}");
  for (const char* prefix : {"answer is:", "answer:", "answer is", "option is"}) {
    const std::optional<std::string> rest = after(plain, prefix);
    if (rest && is_letter_up_to(first_upper(*rest), 'D')) return is_right(first_upper(*rest));
  }
  for (const std::string& word : py::split(plain)) {
    if (is_letter_up_to(py::upper(word), 'D')) return is_right(py::upper(word));
  }
  return 0;
}

double debug_score(const std::string& prediction, const std::string& label, const std::string& function) {
  static const text::Regex kLetter = text::Regex::compile(R"(\b([A-J])\b)", "infinitebench");
  static const text::Regex kSpaces = text::Regex::compile("  +", "infinitebench");
  const std::string letter = last_letter(prediction, kLetter);
  if (!letter.empty()) return letter == label ? 1 : 0;
  const std::string plain = py::strip(
      kSpaces.replace_all(py::replace(py::replace(spaced(prediction, "-*"), "Option", " "), "option", " "), " "));
  const auto names_function = [&](const std::string& text) { return !function.empty() && text.starts_with(function); };
  if (py::upper(plain).starts_with(label) || names_function(plain)) return 1;
  for (const char* prefix : {"answer is:", "is:", "answer:", "correct option is:"}) {
    const std::optional<std::string> rest = after(plain, prefix);
    if (rest) return !rest->empty() && (first_upper(*rest) == label || names_function(*rest)) ? 1 : 0;
  }
  return 0;
}

std::vector<std::string> english_words(const std::string& text) {
  static const text::Regex kArticles = text::Regex::compile(R"(\b(a|an|the)\b)", "infinitebench");
  std::string plain = kArticles.replace_all(py::lower(text), " ");
  std::erase_if(plain, [](char character) { return std::ispunct(static_cast<unsigned char>(character)) != 0; });
  return py::split(plain);
}

std::vector<std::string> chinese_characters(const std::string& text) {
  std::string plain;
  for (const std::string_view character : py::code_points(text)) {
    const bool is_mark = character.size() == 1
                             ? std::ispunct(static_cast<unsigned char>(character[0])) != 0
                             : std::string_view(kChinesePunctuation).find(character) != std::string_view::npos;
    if (!is_mark) plain += character;
  }
  const std::string joined = py::join(py::split(py::lower(plain)), "");
  const std::vector<std::string_view> characters = py::code_points(joined);
  return {characters.begin(), characters.end()};
}

MetricValues best_overlap(const Json& document, const Responses& responses,
                          std::vector<std::string> (*parts)(const std::string&)) {
  const std::vector<std::string> given = parts(cleaned(responses));
  double most = 0;
  for (const std::string& answer : answers_of(document)) most = std::max(most, word_f1(parts(answer), given));
  return scored(most);
}

}  // namespace

Json infinitebench_code_run_text(const Json& document) {
  static const text::Regex kCall = text::Regex::compile(R"((func_[0-9]+)\(\-?[0-9]+\))", "infinitebench");
  const std::string& input = text_of(document, "input");
  const std::optional<text::RegexMatch> found = kCall.search(input);
  return formatted(
      "Following is a set of Python functions. There is a function called named {function}.\n\n{context}\n\n"
      "Please give me the exact number of the return value of {call}. Be concise. Your response must end with the "
      "final returned value.",
      {{"function", found ? std::string(found->groups[1].of(input)) : "the function"},
       {"call", found ? std::string(found->whole().of(input)) : py::strip(input)},
       {"context", value_of(document, "context")}});
}

Json infinitebench_code_debug_text(const Json& document) {
  return formatted(
      "There is ONLY ONE function in the large project that is deliberately made to include an obvious error. Please "
      "find the function that contains the most obvious errors. I will give you four options to narrow your scope. You "
      "can inspect the options and think. Eventually, tell me the answer using one single letter (A, B, C, or D).\n\n"
      "{context}\n\n"
      "Which funtion has deliberate error?\n{options}\n\n"
      "You should first find the functions in the options. Repeat their content, inspect through code, and at last "
      "give me your answer for the function that has the deliberate and obvious error in A, B, C, or D.",
      {{"context", value_of(document, "context")}, {"options", lettered_options(document)}});
}

Json infinitebench_choice_text(const Json& document) {
  return formatted(
      "Read the book and answer the question.\n\n{context}\n\nQuestion: {input}\n\n"
      "Only one of the following options is correct, tell me the answer using one single letter (A, B, C, or D). Don't "
      "say anything else.\n{options}",
      {{"context", value_of(document, "context")},
       {"input", value_of(document, "input")},
       {"options", lettered_options(document)}});
}

Json infinitebench_dialogue_text(const Json& document) {
  return formatted(
      "Below is a dialogue script where one random occurrence of a character name is replaced with \"$$MASK$$\", and "
      "you should try to guess who that character is.\n\nThe dialogue:\n\n---\n\n{context}\n\n---\n\nEnd of "
      "dialogue.\n\nWhich character is most likely \"$$MASK$$\"? Just say the name used by the scriptwriter (before "
      "the colon marks) of one single character and nothing else.",
      document);
}

Json infinitebench_math_text(const Json& document) {
  static const text::Regex kWanted = text::Regex::compile("The .+ of", "infinitebench");
  const std::string& input = text_of(document, "input");
  const std::vector<std::string> found = kWanted.find_all_texts(input);
  const std::string prefix =
      found.empty() ? input : "What is " + py::slice(py::lower(found.front()), {}, -3) + " in the following list?";
  return prefix + "\n\n" + py::str(value_of(document, "context")) + "\n\n" + input;
}

MetricValues infinitebench_results(const Json& document, const Responses& responses) {
  const std::string prediction = py::upper(cleaned(responses));
  return any_answer(document,
                    [&](const std::string& answer) { return prediction.find(py::upper(answer)) != std::string::npos; });
}

MetricValues infinitebench_results_kv(const Json& document, const Responses& responses) {
  const std::vector<std::string> words = py::split(spaced(cleaned(responses), "\n:\"'.,?!{}"));
  return any_answer(document, [&](const std::string& answer) {
    return std::find(words.begin(), words.end(), answer) != words.end();
  });
}

MetricValues infinitebench_results_int_match(const Json& document, const Responses& responses) {
  static const text::Regex kDigits = text::Regex::compile("[0-9]+", "infinitebench");
  const std::string prediction = cleaned(responses);
  const std::optional<text::RegexMatch> found = kDigits.search(prediction);
  return any_answer(document,
                    [&](const std::string& answer) { return found && found->whole().of(prediction) == answer; });
}

MetricValues infinitebench_results_math(const Json& document, const Responses& responses) {
  static const text::Regex kNumber = text::Regex::compile(R"(\d+\.\d+|\d+)", "infinitebench");
  const std::string prediction = cleaned(responses);
  const std::optional<text::RegexMatch> found = kNumber.search(prediction);
  return any_answer(document, [&](const std::string& answer) {
    if (!found) return false;
    const std::string given(found->whole().of(prediction));
    if (given.find('.') != given.npos || answer.find('.') != answer.npos) {
      const std::optional<double> a = parse_python_float(given);
      const std::optional<double> b = parse_python_float(answer);
      return a && b ? *a == *b : given == answer;
    }
    const std::optional<std::string> a = parse_python_integer(given);
    const std::optional<std::string> b = parse_python_integer(answer);
    return a && b ? *a == *b : given == answer;
  });
}

MetricValues infinitebench_results_code_run(const Json& document, const Responses& responses) {
  const std::vector<std::string> words = py::split(spaced(cleaned(responses), "\n.`'\":"));
  const std::optional<std::string> given = words.empty() ? std::nullopt : parse_python_integer(words.back());
  return any_answer(document, [&](const std::string& answer) {
    if (!given) return false;
    const std::optional<std::string> wanted = parse_python_integer(answer);
    return wanted ? *given == *wanted : words.back() == answer;
  });
}

MetricValues infinitebench_results_choice(const Json& document, const Responses& responses) {
  return scored(choice_score(cleaned(responses), letter_of_answer(document)));
}

MetricValues infinitebench_results_code_debug(const Json& document, const Responses& responses) {
  const std::vector<std::string> answers = answers_of(document);
  const std::string label = letter_of_answer(document);
  if (answers.empty()) return scored(0);
  const std::string function = py::strip(answers.front());
  if (!label.empty()) return scored(debug_score(cleaned(responses), label, function));
  const bool is_letter = py::length(function) == 1 && is_letter_up_to(py::upper(function), 'J');
  return scored(is_letter ? debug_score(cleaned(responses), py::upper(function), "") : 0);
}

MetricValues infinitebench_results_qa_en(const Json& document, const Responses& responses) {
  return best_overlap(document, responses, english_words);
}

MetricValues infinitebench_results_qa_chn(const Json& document, const Responses& responses) {
  return best_overlap(document, responses, chinese_characters);
}

}  // namespace evalmpi::task::native

// MLQA and TyDi QA: answers compared by the rules of MLQA's own script, language by language.

#include <algorithm>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "evalmpi/text/unicode.h"
#include "squad_scores.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

// string.punctuation and all of Unicode's.
bool is_mark(std::string_view character) {
  if (character.size() == 1) return std::ispunct(static_cast<unsigned char>(character[0])) != 0;
  size_t at = 0;
  return text::is_punctuation(text::next_code_point(character, &at));
}

const char* articles_of(std::string_view language) {
  constexpr std::pair<std::string_view, const char*> kArticles[] = {
      {"en", R"(\b(a|an|the)\b)"},
      {"es", R"(\b(un|una|unos|unas|el|la|los|las)\b)"},
      {"vi", R"(\b(của|là|cái|chiếc|những)\b)"},
      {"de", R"(\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b)"},
      {"ar", R"((?:^|\s)ال)"}};
  for (const auto& [name, pattern] : kArticles) {
    if (name == language) return pattern;
  }
  return nullptr;
}

// Chinese signs are words of their own.
std::vector<std::string> segmented(const std::string& text) {
  std::vector<std::string> words;
  std::string pending;
  const auto flush = [&] {
    for (std::string& word : py::split(pending)) words.push_back(std::move(word));
    pending.clear();
  };
  for (const std::string_view character : py::code_points(text)) {
    const bool is_sign =
        character >= std::string_view("\u4e00") && character <= std::string_view("\u9fa5") && character.size() == 3;
    if (!is_sign && !is_mark(character)) {
      pending += character;
      continue;
    }
    flush();
    words.emplace_back(character);
  }
  flush();
  return words;
}

std::vector<std::string> words_of(const std::string& text, std::string_view language) {
  const std::string lower = py::lower(text);
  std::string plain;
  for (const std::string_view character : py::code_points(lower)) {
    if (!is_mark(character)) plain += character;
  }
  if (const char* articles = articles_of(language)) plain = text::Regex::compile(articles, "").replace_all(plain, " ");
  const std::vector<std::string> words = language == "zh" ? segmented(plain) : py::split(plain);
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : " ") + word;
  return py::split(joined);
}

}  // namespace

void mlqa_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) { row["answers"] = texts_of(row, "answers", "text"); });
}

namespace {

MetricValues mlqa_results(const Json& document, const Responses& responses, std::string_view language) {
  const std::vector<std::string> prediction = words_of(py::strip(only_text(responses)), language);
  bool is_exact = false;
  double f1 = 0;
  const std::vector<std::string> answers = texts_of(document, "answers");
  if (answers.empty()) fail(ExitCode::kBadInput, "the column answers is empty");
  for (const std::string& answer : answers) {
    const std::vector<std::string> gold = words_of(answer, language);
    is_exact = is_exact || gold == prediction;
    f1 = std::max(f1, word_f1(gold, prediction));
  }
  return {{"exact_match", is_exact}, {"f1", f1}};
}

}  // namespace

MetricValues mlqa_results_ar(const Json& document, const Responses& r) { return mlqa_results(document, r, "ar"); }
MetricValues mlqa_results_de(const Json& document, const Responses& r) { return mlqa_results(document, r, "de"); }
MetricValues mlqa_results_en(const Json& document, const Responses& r) { return mlqa_results(document, r, "en"); }
MetricValues mlqa_results_es(const Json& document, const Responses& r) { return mlqa_results(document, r, "es"); }
MetricValues mlqa_results_hi(const Json& document, const Responses& r) { return mlqa_results(document, r, "hi"); }
MetricValues mlqa_results_vi(const Json& document, const Responses& r) { return mlqa_results(document, r, "vi"); }
MetricValues mlqa_results_zh(const Json& document, const Responses& r) { return mlqa_results(document, r, "zh"); }

// Of TyDi QA's languages English and Arabic have articles, and none is cut into signs.
MetricValues tydiqa_results_ar(const Json& document, const Responses& r) { return mlqa_results(document, r, "ar"); }
MetricValues tydiqa_results_en(const Json& document, const Responses& r) { return mlqa_results(document, r, "en"); }
MetricValues tydiqa_results(const Json& document, const Responses& r) { return mlqa_results(document, r, ""); }

// process_docs_ar and so on
void tydiqa_process_docs(Columns& columns, Rows& rows, std::string_view path) {
  constexpr std::pair<std::string_view, std::string_view> kLanguages[] = {
      {"ar", "arabic-"}, {"bn", "bengali-"}, {"en", "english-"}, {"fi", "finnish-"}, {"id", "indonesian-"},
      {"ko", "korean-"}, {"ru", "russian-"}, {"sw", "swahili-"}, {"te", "telugu-"}};
  const std::string_view code = path.substr(path.rfind('_') + 1);
  const auto* language =
      std::find_if(std::begin(kLanguages), std::end(kLanguages), [&](const auto& row) { return row.first == code; });
  if (language == std::end(kLanguages)) fail(ExitCode::kBadInput, "TyDi QA has no language '{}'", code);
  keep_rows(rows, [&](const Json& row) { return text_of(row, "id").starts_with(language->second); });
  map_rows(columns, rows, [](Json& row) {
    for (const char* column : {"title", "context", "question"}) value_of(row, column);
    row["answers"] = texts_of(row, "answers", "text");
  });
}

}  // namespace evalmpi::task::native

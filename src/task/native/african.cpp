// AfroBench: AfriMMLU, AfriXNLI, MAFAND (translation), MasakhaNER (spans of named entities).

#include <algorithm>
#include <map>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "squad_scores.h"
#include "text_cleaning.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

// A label's word.
Json word_of(const Json& document, const std::vector<std::string>& words) {
  const int64_t label = integer_of(document, "label");
  if (label < 0 || label >= static_cast<int64_t>(words.size())) {
    fail(ExitCode::kBadInput, "the column label must be below {}, not {}", words.size(), label);
  }
  return words[static_cast<size_t>(label)];
}

constexpr std::pair<const char*, const char*> kLanguages[] = {
    {"amh", "Amharic"},  {"bam", "Bambara"},  {"bbj", "Gbomala"},         {"ewe", "Ewe"},     {"fon", "Fon"},
    {"hau", "Hausa"},    {"ibo", "Igbo"},     {"kin", "Kinyarwanda"},     {"lug", "Luganda"}, {"luo", "Luo"},
    {"mos", "Mossi"},    {"nya", "Chichewa"}, {"pcm", "Nigerian Pidgin"}, {"sna", "Shona"},   {"swa", "Swahili"},
    {"tsn", "Setswana"}, {"twi", "Twi"},      {"wol", "Wolof"},           {"xho", "Xhosa"},   {"yor", "Yoruba"},
    {"zul", "Zulu"}};

// A sentence in an African language and in English or French. translation_of fails for languages without a name here.
struct Translation {
  std::string language, sentence, other_language, other_sentence;
};

Translation translation_of(const Json& document) {
  const Json& both = value_of(document, "translation");
  if (!both.is_object()) fail(ExitCode::kBadInput, "the column translation must hold sentences by language");
  const std::string other = both.contains("en") ? "en" : "fr";
  Translation translation{"", "", other == "en" ? "English" : "French", text_of(both, other)};
  for (const auto& [code, sentence] : both.items()) {
    if (code == "en" || code == "fr") continue;
    const auto language = std::find_if(std::begin(kLanguages), std::end(kLanguages),
                                       [&, code = code](const auto& known) { return known.first == code; });
    if (language == std::end(kLanguages)) fail(ExitCode::kBadInput, "the language {} is unknown", code);
    translation.language = language->second;
    translation.sentence = text_of(both, code);
    return translation;
  }
  fail(ExitCode::kBadInput, "the column translation holds no sentence in an African language");
}

std::string instructed(const std::string& from, const std::string& sentence, const std::string& to) {
  return "You are an advanced Translator, a specialized assistant designed to translate documents from " + from +
         " into " + to +
         ". \nYour main goal is to ensure translations are grammatically correct and human-oriented. \n" + from + ": " +
         sentence + " \n" + to + ": ";
}

}  // namespace

Json afrixnli_relation(const Json& document) { return word_of(document, {"entailment", "neutral", "contradiction"}); }
Json afrixnli_truth(const Json& document) { return word_of(document, {"True", "Neither", "False"}); }
Json afrixnli_consistency(const Json& document) { return word_of(document, {"true", "false", "inconclusive"}); }

Json choices_literal(const Json& document) { return literal_list(document, "choices"); }

Json mafand_target(const Json& document) { return translation_of(document).other_sentence; }
Json mafand_target_reverse(const Json& document) { return translation_of(document).sentence; }

Json mafand_prompt_1(const Json& document) {
  const Translation t = translation_of(document);
  return instructed(t.language, t.sentence, t.other_language);
}

Json mafand_reverse_prompt_1(const Json& document) {
  const Translation t = translation_of(document);
  return instructed(t.other_language, t.other_sentence, t.language);
}

Json mafand_reverse_prompt_3(const Json& document) {
  const Translation t = translation_of(document);
  return "You are a translation expert. Translate the following " + t.other_language + " sentence into " + t.language +
         "\n" + t.other_language + " sentence: " + t.other_sentence + "\n" + t.language + " sentence: ";
}

namespace {

std::string normal_span(const std::string& text) {
  static const text::Regex kPunctuation = text::Regex::compile(R"RX([!"$%&'()*+,-./:;<=>?[\]^_`{|}~•@.""-,`]+)RX", "");
  static const text::Regex kArticles = text::Regex::compile(R"RX(\b(a|an|the)\b)RX", "");
  static const text::Regex kBlanks = text::Regex::compile(R"RX(\s{3,}|\t)RX", "");
  static const text::Regex kSpaces = text::Regex::compile(R"RX(\s+)RX", "");
  const std::string words = kArticles.replace_all(kPunctuation.replace_all(text, " "), " ");
  return py::lower(kSpaces.replace_all(kBlanks.replace_all(words, ""), " "));
}

using Span = std::pair<std::string, std::string>;  // tag, entity

// "PER: Ada $ LOC: Accra, ORG: x" and a list of such.
std::vector<Span> spans_of(const Json& value) {
  std::vector<std::string> texts;
  for (const Json& one : value.is_array() ? value : Json::array({value})) {
    if (!one.is_string()) fail(ExitCode::kBadInput, "the F1 of spans takes texts, not {}", py::repr(one));
    texts.push_back(value.is_array() ? py::strip(one.get<std::string>()) : one.get<std::string>());
  }
  std::string all;
  for (size_t i = 0; i < texts.size(); ++i) all += (i == 0 ? "" : " ") + texts[i];
  std::vector<Span> spans;
  const auto add = [&](const std::string& item) {
    const std::vector<std::string> parts = py::split(py::strip(item), ": ");
    if (parts.size() == 2) spans.emplace_back(normal_span(py::strip(parts[0])), normal_span(py::strip(parts[1])));
  };
  for (const std::string& part : py::split(py::strip(all), "$$")) {
    for (const std::string& piece : py::split(part, "$")) {
      if (piece.empty()) continue;
      for (const std::string& sentence : py::split(py::strip(piece), ". ")) {
        for (const std::string& item : py::split(sentence, ", ")) add(item);
      }
    }
  }
  return spans;
}

}  // namespace

double afriqa_f1(const std::vector<Json>& values) {
  double sum = 0;
  for (const Json& value : values) {
    if (!value.is_array() || value.size() != 2 || !value[0].is_string() || !value[1].is_string()) {
      fail(ExitCode::kBadInput, "the F1 of answers takes pairs of texts, not {}", py::repr(value));
    }
    const std::string gold = value[0].get<std::string>();
    sum += normalise_answer(gold).empty() ? 0 : squad_f1(gold, value[1].get<std::string>());
  }
  return sum / static_cast<double>(values.size());
}

double span_f1(const std::vector<Json>& values) {
  double hits = 0, wrong = 0, missed = 0;
  for (const Json& value : values) {
    if (!value.is_array() || value.size() != 2) fail(ExitCode::kBadInput, "the F1 of spans takes pairs");
    std::vector<Span> golds = spans_of(value[0]);
    for (const Span& span : spans_of(value[1])) {
      const auto found = std::find(golds.begin(), golds.end(), span);
      (found == golds.end() ? wrong : hits) += 1;
      if (found != golds.end()) golds.erase(found);
    }
    missed += static_cast<double>(golds.size());
  }
  const double precision = hits / (hits + wrong + 1e-13);
  const double recall = hits / (hits + missed + 1e-13);
  return 2.0 * ((precision * recall) / (precision + recall + 1e-13));
}

}  // namespace evalmpi::task::native

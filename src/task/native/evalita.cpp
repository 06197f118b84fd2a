// EVALITA-LLM: Italian entities, relations, feelings and substitutes for words.

#include <algorithm>

#include "class_f1.h"
#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "evalmpi/text/unicode.h"
#include "python_float.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

constexpr std::string_view kNoEntity = "&&NOENT&&";
constexpr std::string_view kNoRelation = "&&NOREL&&";
constexpr int kOther = 3;

using Pair = std::pair<std::string, std::string>;

// The two sides of a$b; what follows a second sign is dropped.
Pair sides(const std::string& text) {
  const std::vector<std::string> parts = py::split(text, "$");
  return {parts[0], parts.size() < 2 ? "" : parts[1]};
}

std::vector<Pair> entities_of(const Json& document) {
  std::vector<Pair> entities;
  for (const Json& one : list_of(document, "entities")) {
    entities.emplace_back(text_of(one, "entity_text"), text_of(one, "type"));
  }
  return entities;
}

std::vector<Pair> entities_in(const std::string& response) {
  if (response.find(kNoEntity) != response.npos) return {};
  if (response.empty()) return {{"W", "R"}};  // as the harness reads its own mark of a wrong response
  std::vector<Pair> entities;
  for (const std::string& piece : py::split(response, ",")) {
    Pair one = sides(py::strip(piece));
    if (!one.first.empty()) entities.emplace_back(std::move(one.first), py::upper(one.second));
  }
  return entities;
}

int entity_class(const std::string& type) {
  int number = 0;
  for (const char* name : {"PER", "LOC", "ORG", "O"}) {
    if (type == name) return number;
    ++number;
  }
  fail(ExitCode::kBadInput, "the column entities has the type '{}'", type);
}

std::vector<Pair> relations_of(const Json& document) {
  std::vector<Pair> relations;
  for (const Json& one : list_of(document, "relations")) {
    if (!one.is_array() || one.size() < 2 || !one[0].is_string() || !one[1].is_string()) {
      fail(ExitCode::kBadInput, "the column relations must hold pairs of texts, not {}", py::repr(one));
    }
    relations.emplace_back(one[0], one[1]);
  }
  return relations;
}

MetricValues classes(const std::vector<int>& found, const std::vector<int>& gold) {
  return {{"f1", Json::array({found, gold})}};
}

// All [found, gold] classes of all documents, as values of class_f1.cpp.
std::vector<Json> flattened(const std::vector<Json>& values) {
  std::vector<Json> pairs;
  for (const Json& value : values) {
    if (!value.is_array() || value.size() != 2 || !value[0].is_array() || value[0].size() != value[1].size()) {
      fail(ExitCode::kBadInput, "the F1 of entities and relations cannot take the value {}", py::repr(value));
    }
    for (size_t i = 0; i < value[0].size(); ++i) pairs.push_back(Json::array({value[1][i], value[0][i]}));
  }
  return pairs;
}

// A response's words: up to the end of its line, between commas, without quotes.
std::vector<std::string> listed_words(const std::string& response) {
  static const text::Regex kPiece = text::Regex::compile("[^,]+", "evalita");
  std::vector<std::string> words;
  for (const std::string& piece : kPiece.find_all_texts(py::split(response, "\n").front())) {
    const bool is_quoted = piece.starts_with('"') && piece.ends_with('"');
    const std::string inner = is_quoted ? piece.substr(1, piece.size() < 2 ? 0 : piece.size() - 2) : piece;
    if (!inner.empty()) words.push_back(py::replace(py::strip(inner), "\"", ""));
  }
  if (words.size() > 10) words.resize(10);
  if (words.empty()) return words;
  std::string letters;
  for (size_t at = 0; at < words.back().size();) {
    const char32_t code_point = text::next_code_point(words.back(), &at);
    if (text::is_letter(code_point)) text::append_utf8(&letters, code_point);
  }
  words.back() = letters;
  return words;
}

}  // namespace

Json evalita_entities_doc_to_target(const Json& document) {
  std::string text;
  for (const auto& [entity, type] : entities_of(document)) text += (text.empty() ? "" : ",") + entity + "$" + type;
  return text.empty() ? std::string(kNoEntity) : text;
}

MetricValues evalita_entities_results(const Json& document, const Responses& responses) {
  const std::vector<Pair> gold = entities_of(document);
  const std::vector<Pair> found = entities_in(only_text(responses));
  std::vector<int> gold_classes;
  for (const auto& [entity, type] : gold) gold_classes.push_back(entity_class(type));
  if (found.empty() && gold.empty()) return classes({kOther}, {kOther});
  const bool is_more = found.size() > gold.size();
  // What is missed counts as a person where more is found than there is, else as another word.
  std::vector<int> found_classes(gold.size(), is_more ? 0 : kOther);
  for (const Pair& one : found) {
    for (size_t i = 0; i < gold.size(); ++i) {
      if (one == gold[i]) found_classes[i] = gold_classes[i];
    }
  }
  for (size_t i = gold.size(); i < found.size(); ++i) {
    gold_classes.push_back(kOther);
    found_classes.push_back(2);
  }
  return classes(found_classes, gold_classes);
}

// The mean over the classes but the last.
double evalita_entities_f1(const std::vector<Json>& values) {
  const std::vector<double> scores = f1_of_classes(flattened(values));
  if (scores.size() == 1) return scores.front();
  double sum = 0;
  for (size_t i = 0; i + 1 < scores.size(); ++i) sum += scores[i];
  return sum / static_cast<double>(scores.size() - 1);
}

Json evalita_relations_doc_to_target(const Json& document) {
  std::string text;
  for (const auto& [first, second] : relations_of(document)) text += (text.empty() ? "" : "%") + first + "$" + second;
  return text.empty() ? std::string(kNoEntity) : text;
}

// In any order. Of more relations than there are, those that stand first and were not found count as wrong.
MetricValues evalita_relations_results(const Json& document, const Responses& responses) {
  const std::vector<Pair> gold = relations_of(document);
  const std::string& response = only_text(responses);
  const bool is_none = response.find(kNoRelation) != response.npos;
  if (gold.empty()) return classes({is_none ? 0 : 1}, {0});
  std::vector<int> gold_classes(gold.size(), 1);
  std::vector<int> found_classes(gold.size(), 0);
  if (is_none) return classes(found_classes, gold_classes);
  const Pair kTaken = {"DELETED", "DELETED"};
  std::vector<Pair> found;
  if (response.empty()) {
    found = {{"W", "R"}};
  } else {
    for (const std::string& piece : py::split(response, "%")) {
      const Pair one = sides(piece);
      found.emplace_back(py::strip(one.first), py::strip(one.second));
    }
  }
  for (size_t i = 0; i < gold.size(); ++i) {
    for (Pair& one : found) {
      if (one != gold[i]) continue;
      found_classes[i] = 1;
      one = kTaken;
    }
  }
  for (size_t i = 0; i + gold.size() < found.size(); ++i) {
    if (found[i] == kTaken) continue;
    found_classes.push_back(1);
    gold_classes.push_back(0);
  }
  return classes(found_classes, gold_classes);
}

double evalita_relations_f1(const std::vector<Json>& values) { return macro_f1(flattened(values)); }

Json evalita_feeling_doc_to_target(const Json& document) {
  const std::string& positive = text_of(document, "opos");
  const std::string& negative = text_of(document, "oneg");
  if ((positive != "0" && positive != "1") || (negative != "0" && negative != "1")) {
    fail(ExitCode::kBadInput, "the columns opos and oneg must be 0 or 1, not '{}' and '{}'", positive, negative);
  }
  if (positive == "1") return negative == "1" ? 3 : 0;
  return negative == "1" ? 1 : 2;
}

Json evalita_feeling_doc_to_choice(const Json& /*document*/) { return {"Positivo", "Negativo", "Neutrale", "Misto"}; }

// The mean F1 of "is positive" and "is negative", each the mean of its two classes.
double evalita_feeling_f1(const std::vector<Json>& values) {
  std::vector<Json> positive;
  std::vector<Json> negative;
  for (const Json& value : values) {
    if (!value.is_array() || value.size() != 2 || !value[0].is_number_integer() || !value[1].is_number_integer()) {
      fail(ExitCode::kBadInput, "the F1 of feelings cannot take the value {}", py::repr(value));
    }
    const auto is_positive = [](const Json& one) { return one == 0 || one == 3 ? 1 : 0; };
    const auto is_negative = [](const Json& one) { return one == 1 || one == 3 ? 1 : 0; };
    positive.push_back(Json::array({is_positive(value[1]), is_positive(value[0])}));
    negative.push_back(Json::array({is_negative(value[1]), is_negative(value[0])}));
  }
  const auto mean_of_two = [](const std::vector<Json>& pairs) {
    const std::vector<double> scores = f1_of_classes(pairs);
    return (scores[0] + (scores.size() > 1 ? scores[1] : 0)) / 2;
  };
  return (mean_of_two(positive) + mean_of_two(negative)) / 2;
}

Json evalita_questions_doc_to_target(const Json& document) { return letter_position(document, "correct_answer", 4); }

Json evalita_words_doc_to_target(const Json& document) {
  std::vector<std::string> words;
  for (const Json& one : list_of(document, "answers")) words.push_back(text_of(one, "word"));
  return words.empty() ? "&&NOSYN&&" : py::join(words, ", ");
}

// [the share of the annotators' choices that were found, whether anything was, whether there is anything to find].
MetricValues evalita_words_results(const Json& document, const Responses& responses) {
  std::vector<std::string> words;
  std::vector<double> counts;
  double total = 0;
  for (const Json& one : list_of(document, "answers")) {
    words.push_back(text_of(one, "word"));
    const std::optional<std::string> count = parse_python_integer(py::str(value_of(one, "count")));
    counts.push_back(count ? std::stod(*count) : 0);
    total += counts.back();
  }
  const std::vector<std::string> found = listed_words(only_text(responses));
  double right = 0;
  for (const std::string& word : found) {
    const auto place = std::find(words.begin(), words.end(), word);
    if (place != words.end()) right += counts[static_cast<size_t>(place - words.begin())];
  }
  if (total != 0) right /= total;
  return {{"f1", Json::array({right, found.empty() ? 0 : 1, words.empty() ? 0 : 1})}};
}

double evalita_words_f1(const std::vector<Json>& values) {
  double right = 0;
  double answered = 0;
  double annotated = 0;
  for (const Json& value : values) {
    if (!value.is_array() || value.size() != 3) {
      fail(ExitCode::kBadInput, "the F1 of substitutes cannot take the value {}", py::repr(value));
    }
    right += value[0].get<double>();
    answered += value[1].get<double>();
    annotated += value[2].get<double>();
  }
  const double precision = right / (answered == 0 ? 1 : answered);
  const double recall = right / (annotated == 0 ? 1 : annotated);
  return precision + recall == 0 ? 0 : (2 * precision * recall) / (precision + recall);
}

}  // namespace evalmpi::task::native

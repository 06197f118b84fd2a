// Reading comprehension: RACE, ReCoRD, CoQA, MuTual, and the answers' overlap by SQuAD's rules.

#include <algorithm>
#include <set>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "squad_scores.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

Json race_problems(const Json& document) {
  const std::optional<Json> problems = py::parse_literal(text_of(document, "problems"));
  if (!problems || !problems->is_array() || problems->empty()) {
    fail(ExitCode::kBadInput, "the column problems is not a Python list of problems");
  }
  return *problems;
}

size_t race_answer(const Json& problem) {
  const std::string& answer = text_of(problem, "answer");
  if (answer.size() != 1 || answer[0] < 'A' || answer[0] > 'D') {
    fail(ExitCode::kBadInput, "an answer must be a letter from A to D, not '{}'", answer);
  }
  return static_cast<size_t>(answer[0] - 'A');
}

std::vector<std::string> race_options(const Json& problem) {
  std::vector<std::string> options = texts_of(problem, "options");
  if (options.size() < 4) fail(ExitCode::kBadInput, "a problem has {} options, not 4", options.size());
  options.resize(4);
  return options;
}

Json sorted_set(const std::vector<std::string>& texts) { return std::set<std::string>(texts.begin(), texts.end()); }

std::string record_answer(const Json& document, const std::string& entity) {
  return py::replace("  - " + text_of(document, "query"), "@placeholder", entity);
}

}  // namespace

// The other problems on the article stand before the last one, with their answers.
Json race_doc_to_text(const Json& document) {
  const Json problems = race_problems(document);
  std::string text = "Article: " + text_of(document, "article") + "\n\n";
  for (size_t i = 0; i + 1 < problems.size(); ++i) {
    const std::string& question = text_of(problems[i], "question");
    const std::string answer = race_options(problems[i])[race_answer(problems[i])];
    if (py::slice(question, -6, {}) == "  _  .") {
      text += py::slice(question, {}, -5) + answer + "\n";
    } else {
      text += "Question: " + question + "\nAnswer: " + answer + "\n";
    }
  }
  return text + text_of(problems.back(), "question");
}

Json race_doc_to_target(const Json& document) { return race_answer(race_problems(document).back()); }

Json race_doc_to_choice(const Json& document) { return race_options(race_problems(document).back()); }

void record_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    row["entities"] = sorted_set(texts_of(row, "entities"));
    row["answers"] = sorted_set(texts_of(row, "answers"));
  });
}

Json record_doc_to_text(const Json& document) {
  const std::vector<std::string> parts = py::split(py::strip(text_of(document, "passage")), "\n@highlight\n");
  std::string text = parts.front() + "\n\n";
  for (size_t i = 1; i < parts.size(); ++i) text += "  - " + parts[i] + ".\n";
  return text;
}

Json record_doc_to_target(const Json& document) {
  const std::vector<std::string> answers = texts_of(document, "answers");
  if (answers.empty()) fail(ExitCode::kBadInput, "the column answers is empty");
  return record_answer(document, answers.front());
}

Json record_doc_to_choice(const Json& document) {
  Json choices = Json::array();
  for (const std::string& entity : texts_of(document, "entities")) choices.push_back(record_answer(document, entity));
  return choices;
}

MetricValues record_process_results(const Json& document, const std::vector<Json>& responses) {
  const std::vector<std::string> entities = texts_of(document, "entities");
  const size_t best = argmax(log_likelihoods(responses));
  if (best >= entities.size()) fail(ExitCode::kBadInput, "{} entities for more answers", entities.size());
  double f1 = 0;
  double exact = 0;
  for (const std::string& answer : texts_of(document, "answers")) {
    f1 = std::max(f1, squad_f1(entities[best], answer));
    exact = std::max(exact, squad_exact(entities[best], answer));
  }
  return {{"f1", f1}, {"em", exact}};
}

Json coqa_doc_to_text(const Json& document) {
  std::string text = text_of(document, "story") + "\n\n";
  const std::vector<std::string> questions = texts_of(document, "questions", "input_text");
  const std::vector<std::string> answers = texts_of(document, "answers", "input_text");
  const size_t n_shown = answers.empty() ? 0 : answers.size() - 1;
  for (size_t i = 0; i < std::max(questions.size(), n_shown); ++i) {
    text += "Q: " + (i < questions.size() ? questions[i] : std::string("None")) + "\n\n";
    text += i < n_shown ? "A: " + answers[i] + "\n\n" : "A:";
  }
  return text;
}

// The answer to the last question, and others that differ in more than case.
Json coqa_doc_to_target(const Json& document) {
  const size_t turn = texts_of(document, "questions", "input_text").size();
  const auto at_turn = [&](const std::vector<std::string>& answers) {
    if (turn == 0 || turn > answers.size()) fail(ExitCode::kBadInput, "there is no answer to question {}", turn);
    return answers[turn - 1];
  };
  Json answers = Json::array({at_turn(texts_of(document, "answers", "input_text"))});
  std::set<std::string> known = {py::lower(answers[0].get<std::string>())};
  const Json others = document.value("additional_answers", Json());
  if (!others.is_object()) return answers;
  for (const auto& [annotator, given] : others.items()) {
    const std::string answer = at_turn(texts_of(given, "input_text"));
    if (known.insert(py::lower(answer)).second) answers.push_back(answer);
  }
  return answers;
}

// Each accepted answer is left out once, and the best of the others counts.
namespace {

// Each answer is left out in turn, and the best of the others counts.
MetricValues coqa_scores(const std::vector<std::string>& golds, const std::string& response) {
  const std::string prediction = py::split(py::strip(response), "\n").front();
  double f1 = 0;
  double exact = 0;
  for (size_t left_out = 0; left_out < golds.size(); ++left_out) {
    double best_f1 = 0;
    double best_exact = 0;
    for (size_t i = 0; i < golds.size(); ++i) {
      if (i == left_out && golds.size() > 1) continue;
      best_exact = std::max(best_exact, squad_exact(golds[i], prediction));
      best_f1 = std::max(best_f1, squad_f1(golds[i], prediction));
    }
    exact += best_exact;
    f1 += best_f1;
  }
  const auto count = static_cast<double>(golds.size());
  return {{"em", exact / count}, {"f1", f1 / count}};
}

}  // namespace

MetricValues coqa_process_results(const Json& document, const std::vector<Json>& responses) {
  return coqa_scores(coqa_doc_to_target(document).get<std::vector<std::string>>(), only_text(responses));
}

void mutual_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  using Replacement = std::pair<const char*, const char*>;
  constexpr Replacement kReplacements[] = {{" '", "'"},   {" \n", "\n"}, {"\n ", "\n"}, {" n't", "n't"},
                                           {"`` ", "\""}, {"''", "\""},  {" :", ":"},   {" ;", ";"},
                                           {" !", "!"},   {" ?", "?"},   {" ,", ","},   {" .", "."}};
  const auto detokenize = [&](std::string text) {
    for (const auto& [from, to] : kReplacements) text = py::replace(text, from, to);
    return text;
  };
  map_rows(columns, rows, [&](Json& row) {
    Json options = Json::array();
    for (const std::string& option : texts_of(row, "options")) options.push_back(detokenize(option));
    row["article"] = detokenize(text_of(row, "article"));
    row["options"] = options;
  });
}

// Whether the answer is ranked first, or second, and the reciprocal of its rank. Ranks compare log-likelihoods first,
// then whether they are greedy; the first metric takes the position of the largest number of all pairs' entries.
MetricValues mutual_process_results(const Json& document, const std::vector<Json>& responses) {
  const std::string& answer = text_of(document, "answers");
  const size_t gold = answer.size() == 1 ? static_cast<size_t>(answer[0] - 'A') : responses.size();
  const std::vector<double> values = log_likelihoods(responses);
  if (gold >= values.size())
    fail(ExitCode::kBadInput, "the column answers must be a choice's letter, not '{}'", answer);
  std::vector<double> flat;
  std::vector<std::pair<double, double>> pairs;
  for (size_t i = 0; i < values.size(); ++i) {
    const double greedy = responses[i][1].is_boolean() ? (responses[i][1].get<bool>() ? 1 : 0) : 0;
    pairs.emplace_back(values[i], greedy);
    flat.insert(flat.end(), {values[i], greedy});
  }
  const bool first = argmax(flat) == gold;
  const auto rank = std::count_if(pairs.begin(), pairs.end(), [&](const auto& pair) { return pair > pairs[gold]; });
  return {{"r@1", first}, {"r@2", first || rank == 1}, {"mrr", 1.0 / static_cast<double>(rank + 1)}};
}

void moral_stories_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) {
    row["query"] = py::capitalize(text_of(row, "norm")) + " " + py::capitalize(text_of(row, "situation")) + " " +
                   py::capitalize(text_of(row, "intention"));
    row["choices"] = Json::array({value_of(row, "moral_action"), value_of(row, "immoral_action")});
    row["label"] = 0;
  });
}

// As CoQA's, of the last question.
MetricValues coqcat_process_results(const Json& document, const Responses& responses) {
  const size_t turn = value_of(document, "questions").size();
  const auto answer_in = [&](const Json& holder) {
    const std::vector<std::string> texts = texts_of(holder, "input_text");
    if (turn == 0 || turn > texts.size())
      fail(ExitCode::kBadInput, "there are {} answers to {} questions", texts.size(), turn);
    return texts[turn - 1];
  };
  std::vector<std::string> golds = {answer_in(value_of(document, "answers"))};
  const auto more = document.find("additional_answers");
  if (more != document.end() && more->is_object()) {
    for (const auto& [name, holder] : more->items()) {
      const std::string answer = answer_in(holder);
      const bool is_known = std::any_of(golds.begin(), golds.end(),
                                        [&](const std::string& gold) { return py::lower(gold) == py::lower(answer); });
      if (!is_known) golds.push_back(answer);
    }
  }
  return coqa_scores(golds, only_text(responses));
}

}  // namespace evalmpi::task::native

// SQuAD 2.0 as evaluate's metric squad_v2 scores it (the rules of the data set's own script): questions that the
// passage answers, and questions that it does not.

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "native_functions.h"
#include "squad_scores.h"
#include "text_cleaning.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

// Above this probability of " unanswerable" no answer is what the model gives.
constexpr float kNoAnswerThreshold = 1.0F;

struct Answer {
  std::string prediction;
  float no_answer = 0;  // evaluate stores it so
  bool has_answer = false;
  double exact = 0;
  double f1 = 0;

  // The score where the model may also give no answer.
  double with_threshold(double score) const { return no_answer > kNoAnswerThreshold ? !has_answer : score; }
};

// By id, in the order in which ids first appear; of one that appears again the last holds.
std::vector<Answer> answers_of(const std::vector<Json>& values) {
  std::vector<Answer> answers;
  std::map<std::string, size_t> places;
  for (const Json& value : values) {
    const Json& prediction = value.at(0);
    const std::vector<std::string> texts = texts_of(value.at(1), "answers", "text");
    Answer answer;
    answer.prediction = text_of(prediction, "prediction_text");
    answer.no_answer = static_cast<float>(number_of(prediction, "no_answer_probability"));
    answer.has_answer = !texts.empty();
    std::vector<std::string> golds;
    for (const std::string& text : texts) {
      if (!normalise_answer(text).empty()) golds.push_back(text);
    }
    if (golds.empty()) golds.emplace_back();  // right is the empty text
    for (const std::string& gold : golds) {
      answer.exact = std::max(answer.exact, squad_exact(gold, answer.prediction));
      answer.f1 = std::max(answer.f1, squad_f1(gold, answer.prediction));
    }
    const auto [place, is_new] = places.try_emplace(text_of(prediction, "id"), answers.size());
    if (is_new) answers.emplace_back();
    answers[place->second] = std::move(answer);
  }
  return answers;
}

using Score = double Answer::*;

// In percent over the answers that count; 0 without any.
template <class Counts>
double mean_score(const std::vector<Json>& values, Score score, Counts counts) {
  double sum = 0;
  double total = 0;
  for (const Answer& answer : answers_of(values)) {
    if (!counts(answer)) continue;
    sum += answer.with_threshold(answer.*score);
    total += 1;
  }
  return total == 0 ? 0 : 100.0 * sum / total;
}

// With the threshold that gives most: answers are accepted one by one, the least probable not to exist first.
double best_score(const std::vector<Json>& values, Score score) {
  std::vector<Answer> answers = answers_of(values);
  std::stable_sort(answers.begin(), answers.end(),
                   [](const Answer& a, const Answer& b) { return a.no_answer < b.no_answer; });
  auto current = static_cast<double>(
      std::count_if(answers.begin(), answers.end(), [](const Answer& answer) { return !answer.has_answer; }));
  double best = current;
  for (const Answer& answer : answers) {
    current += answer.has_answer ? answer.*score : answer.prediction.empty() ? 0 : -1;
    best = std::max(best, current);
  }
  return 100.0 * best / static_cast<double>(answers.size());
}

bool any(const Answer&) { return true; }
bool has_answer(const Answer& answer) { return answer.has_answer; }
bool has_none(const Answer& answer) { return !answer.has_answer; }

}  // namespace

Json squad2_doc_to_target(const Json& document) {
  const std::vector<std::string> answers = texts_of(document, "answers", "text");
  return " " + (answers.empty() ? "unanswerable" : answers.front());
}

std::vector<Asked> squad2_construct_requests(const Json& /*document*/) {
  return {{RequestKind::kGenerateUntil, ""}, {RequestKind::kLoglikelihood, " unanswerable"}};
}

MetricValues squad2_process_results(const Json& document, const Responses& responses) {
  if (responses.size() != 2 || !responses[0].is_string() || !responses[1].is_array() || !responses[1].at(0).is_number())
    fail(ExitCode::kBadInput, "the filters must leave a text and a log-likelihood for each document");
  const Json prediction = {{"id", value_of(document, "id")},
                           {"prediction_text", responses[0]},
                           {"no_answer_probability", std::exp(responses[1][0].get<double>())}};
  const Json reference = {{"id", value_of(document, "id")}, {"answers", value_of(document, "answers")}};
  const Json both = Json::array({prediction, reference});
  MetricValues values;
  for (const char* name :
       {"exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1", "best_exact", "best_f1"}) {
    values.emplace_back(name, both);
  }
  return values;
}

double squad2_exact(const std::vector<Json>& values) { return mean_score(values, &Answer::exact, any); }
double squad2_f1(const std::vector<Json>& values) { return mean_score(values, &Answer::f1, any); }
double squad2_answered_exact(const std::vector<Json>& values) { return mean_score(values, &Answer::exact, has_answer); }
double squad2_answered_f1(const std::vector<Json>& values) { return mean_score(values, &Answer::f1, has_answer); }
double squad2_unanswered_exact(const std::vector<Json>& values) { return mean_score(values, &Answer::exact, has_none); }
double squad2_unanswered_f1(const std::vector<Json>& values) { return mean_score(values, &Answer::f1, has_none); }
double squad2_best_exact(const std::vector<Json>& values) { return best_score(values, &Answer::exact); }
double squad2_best_f1(const std::vector<Json>& values) { return best_score(values, &Answer::f1); }

}  // namespace evalmpi::task::native

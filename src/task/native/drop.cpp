// DROP: sets of answer spans, compared as bags of words after the best one-to-one alignment.

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "aggregations.h"
#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "python_float.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

using Bag = std::set<std::string>;

struct Spans {
  std::vector<std::string> normalised;
  std::vector<Bag> bags;
};

std::string normalise_token(const std::string& token) {
  std::string text = py::lower(token);
  if (!parse_python_float(text)) {
    std::erase_if(text, [](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return byte < 128 && std::ispunct(byte) != 0;
    });
  }
  if (const std::optional<double> number = parse_python_float(text)) text = py::repr_float(*number);
  static const text::Regex kArticles = text::Regex::compile("\\b(a|an|the)\\b", "articles");
  return py::join(py::split(kArticles.replace_all(text, " ")), " ");
}

std::string normalise(const std::string& answer) {
  static const text::Regex kBorder = text::Regex::compile(" |-", "words of answers");
  std::vector<std::string> tokens;
  for (const std::string& token : kBorder.split(answer)) {
    std::string normalised = normalise_token(token);
    if (!normalised.empty()) tokens.push_back(std::move(normalised));
  }
  return py::strip(py::join(tokens, " "));
}

Spans spans_of(const std::vector<std::string>& answer) {
  Spans spans;
  for (const std::string& span : answer) {
    spans.normalised.push_back(normalise(span));
    const std::vector<std::string> words = py::split(spans.normalised.back());
    spans.bags.emplace_back(words.begin(), words.end());
  }
  return spans;
}

Bag numbers_in(const Bag& bag) {
  Bag numbers;
  for (const std::string& word : bag) {
    if (parse_python_float(word)) numbers.insert(word);
  }
  return numbers;
}

size_t count_common(const Bag& a, const Bag& b) {
  return static_cast<size_t>(std::count_if(a.begin(), a.end(), [&](const auto& word) { return b.contains(word); }));
}

// Zero where the gold bag has numbers and the prediction none of them.
double overlap(const Bag& gold, const Bag& prediction) {
  const Bag gold_numbers = numbers_in(gold);
  if (!gold_numbers.empty() && count_common(gold_numbers, numbers_in(prediction)) == 0) return 0;
  const auto common = static_cast<double>(count_common(gold, prediction));
  const double precision = prediction.empty() ? 1 : common / static_cast<double>(prediction.size());
  const double recall = gold.empty() ? 1 : common / static_cast<double>(gold.size());
  return precision == 0 && recall == 0 ? 0 : (2 * precision * recall) / (precision + recall);
}

// The column assigned to each row of a table with at most as many rows as columns, so that the sum is largest: shortest
// augmenting paths with potentials (Jonker, Volgenant 1987).
std::vector<size_t> assign(const std::vector<std::vector<double>>& gains) {
  const size_t n_rows = gains.size();
  const size_t n_columns = gains.front().size();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  // Position 0 of rows and columns is a sentinel.
  std::vector<double> row_potential(n_rows + 1), column_potential(n_columns + 1);
  std::vector<size_t> row_of(n_columns + 1), previous(n_columns + 1);
  for (size_t row = 1; row <= n_rows; ++row) {
    row_of[0] = row;
    size_t column = 0;
    std::vector<double> distance(n_columns + 1, kInfinity);
    std::vector<bool> is_done(n_columns + 1);
    do {
      is_done[column] = true;
      double step = kInfinity;
      size_t next = 0;
      for (size_t j = 1; j <= n_columns; ++j) {
        if (is_done[j]) continue;
        const double cost = -gains[row_of[column] - 1][j - 1] - row_potential[row_of[column]] - column_potential[j];
        if (cost < distance[j]) {
          distance[j] = cost;
          previous[j] = column;
        }
        if (distance[j] < step) {
          step = distance[j];
          next = j;
        }
      }
      for (size_t j = 0; j <= n_columns; ++j) {
        if (is_done[j]) {
          row_potential[row_of[j]] += step;
          column_potential[j] -= step;
        } else {
          distance[j] -= step;
        }
      }
      column = next;
    } while (row_of[column] != 0);
    for (; column != 0; column = previous[column]) row_of[column] = row_of[previous[column]];
  }
  std::vector<size_t> columns(n_rows);
  for (size_t j = 1; j <= n_columns; ++j) {
    if (row_of[j] != 0) columns[row_of[j] - 1] = j - 1;
  }
  return columns;
}

// The mean overlap of aligned spans; spans without a partner count as 0. In the order of the gold spans, so that the
// sum has the same bits.
double aligned_f1(const Spans& prediction, const Spans& gold) {
  const size_t n_gold = gold.bags.size();
  const size_t n_predicted = prediction.bags.size();
  const bool is_wide = n_gold <= n_predicted;
  std::vector<std::vector<double>> gains(std::min(n_gold, n_predicted),
                                         std::vector<double>(std::max(n_gold, n_predicted)));
  for (size_t g = 0; g < n_gold; ++g) {
    for (size_t p = 0; p < n_predicted; ++p) {
      (is_wide ? gains[g][p] : gains[p][g]) = overlap(gold.bags[g], prediction.bags[p]);
    }
  }
  std::vector<double> scores(std::max(n_gold, n_predicted));
  const std::vector<size_t> columns = assign(gains);
  for (size_t row = 0; row < columns.size(); ++row) {
    scores[is_wide ? row : columns[row]] = gains[row][columns[row]];
  }
  return pairwise_sum(scores.data(), scores.size()) / static_cast<double>(scores.size());
}

struct Agreement {
  double exact = 0;
  double f1 = 0;
};

Agreement compare(const std::vector<std::string>& predicted, const std::vector<std::string>& gold) {
  const Spans prediction = spans_of(predicted);
  const Spans reference = spans_of(gold);
  const Bag a(prediction.normalised.begin(), prediction.normalised.end());
  const Bag b(reference.normalised.begin(), reference.normalised.end());
  const bool exact = a == b && prediction.normalised.size() == reference.normalised.size();
  return {exact ? 1.0 : 0.0, numpy_round(aligned_f1(prediction, reference), 2)};
}

// A number, else spans, else a date; always a list.
Json parsed_answer(const Json& number, const Json& spans, const Json& date) {
  if (number != "") return Json::array({py::str(number)});
  if (!spans.is_array()) fail(ExitCode::kBadInput, "the spans of an answer must be a list, not {}", py::repr(spans));
  if (!spans.empty()) return spans;
  const std::string text = text_of(date, "day") + " " + text_of(date, "month") + " " + text_of(date, "year");
  return Json::array({py::strip(text)});
}

}  // namespace

void drop_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    const Json& answer = value_of(row, "answer");
    Json answers =
        Json::array({parsed_answer(value_of(answer, "number"), value_of(answer, "spans"), value_of(answer, "date"))});
    const Json& others = value_of(row, "validated_answers");
    const Json& numbers = list_of(others, "number");
    const Json& dates = list_of(others, "date");
    const Json& spans = list_of(others, "spans");
    if (dates.size() != numbers.size() || spans.size() != numbers.size()) {
      fail(ExitCode::kBadInput, "the column validated_answers has lists of different lengths");
    }
    for (size_t i = 0; i < numbers.size(); ++i) {
      Json candidate = parsed_answer(numbers[i], spans[i], dates[i]);
      if (std::find(answers.begin(), answers.end(), candidate) == answers.end()) answers.push_back(candidate);
    }
    row["id"] = value_of(row, "query_id");
    row["answers"] = answers;
  });
}

// The best agreement with an answer that is not blank.
MetricValues drop_process_results(const Json& document, const std::vector<Json>& responses) {
  std::vector<std::string> prediction;
  for (const Json& response : responses) prediction.push_back(only_text({response}));
  Agreement best;
  for (const Json& answer : list_of(document, "answers")) {
    const auto gold = answer.get<std::vector<std::string>>();
    if (gold.empty() || py::strip(gold.front()).empty()) continue;
    const Agreement agreement = compare(prediction, gold);
    best.exact = std::max(best.exact, agreement.exact);
    best.f1 = std::max(best.f1, agreement.f1);
  }
  return {{"em", best.exact}, {"f1", best.f1}};
}

}  // namespace evalmpi::task::native

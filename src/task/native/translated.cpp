// Translated or reshaped copies of well-known multiple-choice sets: Okapi's ARC and HellaSwag, Llama 3's ARC, GPQA.

#include <algorithm>

#include "aggregations.h"
#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/task/python_random.h"
#include "evalmpi/text/python.h"
#include "text_cleaning.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace py = text::python;

void okapi_arc_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  map_rows(columns, rows, [](Json& row) {
    Json choices = Json::array();
    for (const char* column : {"option_a", "option_b", "option_c", "option_d", "option_e"}) {
      const Json& option = value_of(row, column);
      if (py::truth(option)) choices.push_back(clean_brackets(text_of(row, column)));
    }
    row["query"] = "Question: " + clean_brackets(text_of(row, "instruction")) + "\nAnswer:";
    row["choices"] = choices;
    row["gold"] = letter_position(row, "answer", 5);
  });
}

// Questions with four choices, which get the letters A to D.
void llama3_arc_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  keep_rows(rows, [](const Json& row) { return list_of(value_of(row, "choices"), "label").size() == 4; });
  const Json letters = {"A", "B", "C", "D"};
  map_rows(columns, rows, [&](Json& row) {
    row["choices"]["label"] = letters;
    const std::string& key = text_of(row, "answerKey");
    if (std::find(letters.begin(), letters.end(), Json(key)) != letters.end()) return;
    const int64_t number = parsed_integer(row, "answerKey");
    if (number > 4) fail(ExitCode::kBadInput, "the column answerKey names choice {} of 4", number);
    row["answerKey"] = letters[static_cast<size_t>(number == 0 ? 3 : number - 1)];
  });
}

namespace {

// The choices of every row in an order drawn from Random(42), in row order. (In the harness a generator of the module
// or of the whole program draws them, and what it has drawn before depends on the run.)
void shuffle_gpqa(std::vector<std::string>& columns, std::vector<Json>& rows, std::string (*clean)(const Json&)) {
  PythonRandom random(42);
  map_rows(columns, rows, [&](Json& row) {
    std::vector<std::string> choices;
    for (const char* column : {"Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3", "Correct Answer"}) {
      choices.push_back(clean(value_of(row, column)));
    }
    const std::string right = choices.back();
    random.shuffle(choices);
    const auto position = std::find(choices.begin(), choices.end(), right) - choices.begin();
    for (size_t i = 0; i < choices.size(); ++i) row["choice" + std::to_string(i + 1)] = choices[i];
    row["answer"] = std::string("(") + static_cast<char>('A' + position) + ")";
  });
}

}  // namespace

void gpqa_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  shuffle_gpqa(columns, rows, clean_titles_or_space);
}

void leaderboard_gpqa_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  shuffle_gpqa(columns, rows, clean_brackets_or_space);
}

// The choices also as a list, for filters that look for them.
void gpqa_generative_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  shuffle_gpqa(columns, rows, clean_titles_or_space);
  map_rows(columns, rows, [](Json& row) {
    const Json answer = row["answer"];
    row.erase("answer");
    row["choices"] = Json::array({row["choice1"], row["choice2"], row["choice3"], row["choice4"]});
    row["answer"] = answer;
  });
}

// Unweighted mean of the F1 of each of CommitmentBank's three classes; values are [gold, prediction].
double cb_multi_f1(const std::vector<Json>& values) {
  double scores[3] = {};
  for (int label = 0; label < 3; ++label) {
    double hits = 0;
    double misses = 0;
    for (const Json& value : values) {
      if (!value.is_array() || value.size() != 2) {
        fail(ExitCode::kBadInput, "the aggregation cb_multi_fi cannot take the value {}", py::repr(value));
      }
      const bool is_gold = value[0] == label;
      const bool is_predicted = value[1] == label;
      if (is_gold && is_predicted) ++hits;
      if (is_gold != is_predicted) ++misses;
    }
    scores[label] = hits == 0 ? 0.0 : 2 * hits / (2 * hits + misses);
  }
  return pairwise_sum(scores, 3) / 3;
}

}  // namespace evalmpi::task::native

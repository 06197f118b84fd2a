// Sets of one or a few tasks with short functions: BABILong, EQ-Bench, the Physics GRE, Japanese leaderboard tasks.

#include <algorithm>
#include <cmath>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "python_float.h"
#include "twins.h"

namespace evalmpi::task::native {

namespace py = text::python;

MetricValues babilong_process_results(const Json& document, const Responses& responses) {
  static const text::Regex kControl = text::Regex::compile(R"([\x00-\x1f])", "babilong");
  const std::string prediction = py::strip(kControl.replace_all(py::strip(only_text(responses)), "\n"));
  const std::string target = py::lower(py::strip(text_of(document, "target")));
  return {{"acc", py::lower(prediction).find(target) != std::string::npos ? 1.0 : 0.0}};
}

// The distance of four rated emotions from the reference: small ones count less.
MetricValues eq_bench_process_results(const Json& document, const Responses& responses) {
  static const text::Regex kRated = text::Regex::compile(R"((\w+):\s+(\d+))", "eq_bench");
  const std::optional<Json> reference = py::parse_literal(text_of(document, "reference_answer_fullscale"));
  if (!reference || !reference->is_object()) {
    fail(ExitCode::kBadInput, "the column reference_answer_fullscale is not a Python dictionary");
  }
  const std::string& response = only_text(responses);
  std::vector<std::pair<std::string, std::string>> ratings;
  for (const text::RegexMatch& match : kRated.find_all(response)) {
    const std::string emotion(match.groups[1].of(response));
    const auto known =
        std::find_if(ratings.begin(), ratings.end(), [&](const auto& one) { return one.first == emotion; });
    if (known == ratings.end()) {
      ratings.emplace_back(emotion, match.groups[2].of(response));
    } else {
      known->second = match.groups[2].of(response);
    }
  }
  const MetricValues unreadable = {{"eqbench", 0}, {"percent_parseable", 0}};
  if (ratings.size() != 4) return unreadable;
  double tally = 0;
  size_t n_known = 0;
  for (const auto& [emotion, rating] : ratings) {
    bool is_known = false;
    for (const char number : std::string_view("1234")) {
      const std::string name = std::string("emotion") + number;
      if (value_of(*reference, name) != emotion) continue;
      is_known = true;
      const Json& score = value_of(*reference, name + "_score");
      const std::optional<double> wanted = score.is_string()
                                               ? parse_python_float(score.get<std::string>())
                                               : std::optional<double>(number_of(*reference, name + "_score"));
      const std::optional<double> given = parse_python_float(rating);
      if (!wanted || !given) fail(ExitCode::kBadInput, "{}_score is no number", name);
      const double distance = std::abs(*given - *wanted);
      if (distance == 0) continue;
      tally += distance <= 5 ? 6.5 * (1 / (1 + std::pow(M_E, -1.2 * (distance - 4)))) : distance;
    }
    n_known += is_known ? 1 : 0;
  }
  if (n_known != 4) return unreadable;
  return {{"eqbench", (10 - tally * 0.7477) * 10}, {"percent_parseable", 100}};
}

void physics_gre_process_docs(Columns& columns, Rows& rows) {
  keep_rows(rows, [](const Json& row) {
    const Json& scores = value_of(row, "target_scores");
    return !py::truth(value_of(row, "has_image")) && scores.is_object() &&
           std::find(scores.begin(), scores.end(), Json(1)) != scores.end();
  });
  map_rows(columns, rows, [](Json& row) {
    const Json& scores = value_of(row, "target_scores");
    Json choices = Json::array();
    Json gold;
    for (const auto& [choice, score] : scores.items()) {
      if (gold.is_null() && score == 1) gold = choices.size();
      choices.push_back(choice);
    }
    row["input"] = py::strip(text_of(row, "input"));
    row["choices"] = choices;
    row["gold"] = gold;
  });
}

void jcommonsenseqa_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) {
    Json choices = Json::array();
    for (const char number : std::string_view("01234"))
      choices.push_back(value_of(row, std::string("choice") + number));
    row["choices"] = choices;
  });
}

void japanese_xwinograd_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) {
    row["label"] = parsed_integer(row, "answer") - 1;
    row["choices"] = Json::array({py::strip(text_of(row, "sentence1")), py::strip(text_of(row, "sentence2"))});
  });
}

// The last number of a response, where it is an integer.
MetricValues japanese_mgsm_process_results(const Json& document, const Responses& responses) {
  static const text::Regex kNumber = text::Regex::compile(R"((\-?[0-9\.\,]+))", "mgsm");
  const double wanted = number_of(document, "answer_number");
  const std::vector<std::string> numbers = kNumber.find_all_texts(only_text(responses));
  if (numbers.empty()) return {{"acc", false}};
  const std::optional<double> found = parse_python_float(py::replace(py::strip(numbers.back(), "."), ",", ""));
  return {{"acc", found && std::isfinite(*found) && *found == std::floor(*found) && *found == wanted}};
}

Json glianorex_doc_to_text(const Json& document) {
  const Json& options = value_of(document, "options");
  if (!options.is_object()) fail(ExitCode::kBadInput, "the column options must hold options by letter");
  std::string text = "Question: " + py::str(value_of(document, "question")) + "\n";
  for (const auto& [letter, option] : options.items()) text += letter + ". " + py::str(option) + "\n";
  return text + "Answer:";
}

Json glianorex_doc_to_target(const Json& document) { return value_of(document, "answer_idx"); }

// filter_english, filter_french
void glianorex_filter(Columns&, Rows& rows, std::string_view path) {
  const std::string_view language = path.ends_with("_english") ? "en" : "fr";
  keep_rows(rows, [&](const Json& row) { return text_of(row, "language").starts_with(language); });
}

Json icelandic_winogrande_doc_to_target(const Json& document) {
  const std::string target = winogrande_doc_to_target(document);
  return target == "." ? target : " " + target;
}

void groundcocoa_process_docs(Columns& columns, Rows& rows) {
  map_rows(columns, rows, [](Json& row) {
    std::string question =
        "A user has specified certain criteria for booking a flight. Below are five different flight options labeled "
        "'A', 'B', 'C', 'D', and 'E'. Review these options and select the one that best matches the user requirements. "
        "Respond with a single option and the phrase 'The answer is Option ' followed by the correct letter - 'A', "
        "'B', 'C', 'D', or 'E'\n\nUser Criteria: " +
        text_of(row, "query") + "\n";
    Json choices = Json::array();
    for (const char letter : std::string_view("ABCDE")) {
      const std::string name = std::string("Option ") + letter;
      question += "\n " + name + ": " + py::str(value_of(row, name)) + "\n";
      choices.push_back("The answer is " + name);
    }
    row = {{"criteria", question}, {"choices", choices}, {"gold", "The answer is Option " + text_of(row, "Answer")}};
  });
  if (!rows.empty()) columns = {"criteria", "choices", "gold"};
}

}  // namespace evalmpi::task::native

// SCORE on AGIEval and MMLU-Pro: the same question under ten prompts, with the right option in every place, or sampled.
// The prompts stand in prompt_templates.json beside the functions' module, from which they are read.

#include <filesystem>
#include <functional>
#include <limits>
#include <map>

#include "aggregations.h"
#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "python_float.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

// How the functions for one of the two data sets differ.
struct Benchmark {
  const char* metric;
  int64_t n_labels;
  bool has_categories;
};
constexpr Benchmark kAgieval{"accuracy", 5, false};
constexpr Benchmark kMmluPro{"macro_accuracy", 10, true};

constexpr const char* kDigits[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
constexpr const char* kRoman[] = {"I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"};

std::string label_of(int64_t index, int64_t n_labels) {
  if (index < 0 || index >= n_labels) fail(ExitCode::kBadInput, "the column answer_index cannot be {}", index);
  return std::string(1, static_cast<char>('A' + index));
}

Json read_templates(std::string_view path, const char* key) {
  const std::filesystem::path file = std::filesystem::path(path).parent_path() / "prompt_templates.json";
  const Json templates = read_json_file(file);
  return value_of(templates, key);
}

bool is_agieval(std::string_view path) { return path.find("/utils_agieval.") != path.npos; }

// "(A)x", "A x" and "A? x" without their letter.
std::string without_letter(const std::string& option) {
  static const text::Regex kLetter = text::Regex::compile(R"(^(?:\([A-E]\)|[A-E] |[A-E]\? ))", "score");
  static const text::Regex kSpaced = text::Regex::compile("^[A-E] ", "score");
  if (!kLetter.match(option)) return option;
  return option.substr(kSpaced.match(option) ? 2 : 3);
}

// AGIEval's rows as MMLU-Pro's are.
void prepare(Columns& columns, Rows& rows, std::string_view path) {
  if (!is_agieval(path)) return;
  int64_t number = 0;
  map_rows(columns, rows, [&](Json& row) {
    const auto add = [&](const char* column, auto make) {
      if (!row.contains(column)) row[column] = make();
    };
    add("question", [&] {
      const std::string question = py::split(text_of(row, "query"), " Answer Choices:").front();
      return question.starts_with("Q: ") ? question.substr(3) : question;
    });
    add("question_id", [&] { return number; });
    add("answer_index", [&] {
      const Json& gold = list_of(row, "gold");
      if (gold.empty()) fail(ExitCode::kBadInput, "the column gold is empty");
      return gold[0];
    });
    add("answer", [&] { return label_of(integer_of(row, "answer_index"), kAgieval.n_labels); });
    add("options", [&] {
      std::vector<std::string> options;
      for (const std::string& option : texts_of(row, "choices")) options.push_back(without_letter(option));
      return options;
    });
    ++number;
  });
}

void add_prompt(Json& row, const Json& prompt) {
  row["prompt"] = text_of(prompt, "prompt");
  const auto format = prompt.find("options_format");
  if (format != prompt.end() && !format->is_null()) row["options_format"] = *format;
}

// Each row `times` times, the copies changed by their number; columns are those of the first.
void repeat_rows(Columns& columns, Rows& rows, int64_t times,
                 const std::function<void(Json& row, int64_t time)>& change) {
  Rows repeated;
  for (const Json& row : rows) repeated.insert(repeated.end(), static_cast<size_t>(times), row);
  rows = std::move(repeated);
  int64_t number = 0;
  map_rows(columns, rows, [&](Json& row) { change(row, number++ % times); });
}

// The last letter or number that a response calls the best answer, else the response, as a label.
std::string answer_in(const Json& document, const Responses& responses, int64_t n_labels) {
  static const text::Regex kOther = text::Regex::compile("[^a-zA-Z0-9]", "score");
  const std::string& response = only_text(responses);
  const std::string lower = py::lower(response);
  std::string answer = response;
  if (lower.find("the best answer is") != lower.npos) {
    answer = py::split(py::split(py::split(lower, "the best answer is ").back(), "\n").front(), " ").front();
    answer = kOther.replace_all(answer, "");
  }
  answer = py::upper(answer);
  const Json& format = value_of(document, "options_format");
  if (!format.is_string() || format.get_ref<const std::string&>().find("numeral") == std::string::npos) return answer;
  const auto& names = format.get_ref<const std::string&>().find("roman") == std::string::npos ? kDigits : kRoman;
  // The harness stops at a number beyond the labels.
  for (int64_t i = 0; i < n_labels; ++i) {
    if (answer == names[i]) return label_of(i, n_labels);
  }
  return answer;
}

struct Answered {
  std::string answer;
  std::string right;
};

Answered answered(const Json& document, const Responses& responses, const Benchmark& benchmark) {
  return {answer_in(document, responses, benchmark.n_labels),
          label_of(integer_of(document, "answer_index"), benchmark.n_labels)};
}

Json with_category(Json values, const Json& document, const Benchmark& benchmark) {
  if (benchmark.has_categories) values.push_back(value_of(document, "category"));
  return values;
}

MetricValues prompt_results(const Json& document, const Responses& responses, const Benchmark& benchmark) {
  const Answered one = answered(document, responses, benchmark);
  const Json& prompt = value_of(document, "prompt_id");
  const Json values = Json::array({value_of(document, "question_id"), prompt, one.answer, one.right});
  return {{py::str(prompt) + "_" + benchmark.metric, with_category(values, document, benchmark)},
          {"consistency_rate", values}};
}

MetricValues option_results(const Json& document, const Responses& responses, const Benchmark& benchmark) {
  const Answered one = answered(document, responses, benchmark);
  const std::string& place = text_of(document, "always_same_option");
  const Json& question = value_of(document, "question_id");
  return {{std::string("per_option_") + benchmark.metric + "_" + place,
           with_category(Json::array({question, place, one.answer, one.right}), document, benchmark)},
          {"options_consistency_rate",
           Json::array({question, place, one.answer, value_of(document, "original_answer_index"),
                        Json::array({value_of(document, "answer_index")})})}};
}

MetricValues sampled_results(const Json& document, const Responses& responses, const Benchmark& benchmark) {
  const Answered one = answered(document, responses, benchmark);
  const Json category = benchmark.has_categories ? value_of(document, "category") : Json();
  return {{std::string("non_greedy_") + benchmark.metric,
           Json::array({value_of(document, "question_id"), one.answer, one.right, category})}};
}

const Json& part(const Json& value, size_t size, size_t place) {
  if (!value.is_array() || value.size() != size) {
    fail(ExitCode::kBadInput, "the aggregations of SCORE cannot take the value {}", py::repr(value));
  }
  return value[place];
}

// The share of right answers among `values`, whose parts `answer` and `answer + 1` are the answer and the right one;
// with a category, the mean of its shares.
double accuracy(const std::vector<const Json*>& values, size_t size, size_t answer, std::optional<size_t> category) {
  std::vector<std::string> names;
  std::vector<std::pair<double, double>> counts;  // right, all
  for (const Json* value : values) {
    const std::string name = category ? part(*value, size, *category).dump() : "";
    size_t at = 0;
    while (at < names.size() && names[at] != name) ++at;
    if (at == names.size()) {
      names.push_back(name);
      counts.emplace_back(0, 0);
    }
    counts[at].first += part(*value, size, answer) == part(*value, size, answer + 1) ? 1 : 0;
    counts[at].second += 1;
  }
  if (counts.empty()) return std::numeric_limits<double>::quiet_NaN();  // the harness stops, or says so
  std::vector<double> shares;
  for (const auto& [right, all] : counts) shares.push_back(right / all);
  return numpy_round(pairwise_sum(shares.data(), shares.size()) / static_cast<double>(shares.size()), 4);
}

double sampled_accuracy(const std::vector<Json>& values, bool by_category) {
  std::vector<const Json*> all;
  for (const Json& value : values) all.push_back(&value);
  return accuracy(all, 4, 1, by_category ? std::optional<size_t>(3) : std::nullopt);
}

// Of all pairs of answers to one question the share that agree.
double consistency(const std::vector<std::pair<std::string, std::string>>& answers) {
  std::map<std::string, std::map<std::string, double>> counts;
  for (const auto& [question, answer] : answers) ++counts[question][answer];
  double equal = 0;
  double all = 0;
  for (const auto& [question, of_question] : counts) {
    double total = 0;
    for (const auto& [answer, count] : of_question) {
      equal += count * (count - 1) / 2;
      total += count;
    }
    all += total * (total - 1) / 2;
  }
  return all > 0 ? equal / all : 0.0;
}

}  // namespace

void score_prompts_process_docs(Columns& columns, Rows& rows, std::string_view path) {
  const Json prompts = read_templates(path, "prompt_robustness");
  if (!prompts.is_array() || prompts.empty()) fail(ExitCode::kBadInput, "prompt_robustness holds no list of prompts");
  prepare(columns, rows, path);
  repeat_rows(columns, rows, static_cast<int64_t>(prompts.size()), [&](Json& row, int64_t time) {
    row["prompt_id"] = time;
    add_prompt(row, prompts[static_cast<size_t>(time)]);
  });
}

void score_options_process_docs(Columns& columns, Rows& rows, std::string_view path) {
  const Json prompt = read_templates(path, "option_order_robustness");
  const int64_t n_labels = is_agieval(path) ? kAgieval.n_labels - 1 : kMmluPro.n_labels;
  prepare(columns, rows, path);
  repeat_rows(columns, rows, n_labels, [&](Json& row, int64_t place) {
    const int64_t right = integer_of(row, "answer_index");
    std::vector<std::string> options = texts_of(row, "options");
    const std::string label = label_of(place, n_labels);
    if (place < static_cast<int64_t>(options.size())) {
      if (right < 0 || right >= static_cast<int64_t>(options.size())) {
        fail(ExitCode::kBadInput, "the column answer_index names option {} of {}", right, options.size());
      }
      std::swap(options[static_cast<size_t>(place)], options[static_cast<size_t>(right)]);
      row["options"] = options;
      row["answer_index"] = place;
      if (row.contains("answer")) row["answer"] = label;
    }
    row["always_same_option"] = label;
    add_prompt(row, prompt);
    row["original_answer_index"] = right;
  });
}

void score_sampled_process_docs(Columns& columns, Rows& rows, std::string_view path) {
  const Json prompt = read_templates(path, "non_greedy_robustness");
  prepare(columns, rows, path);
  map_rows(columns, rows, [&](Json& row) { add_prompt(row, prompt); });
}

Json score_doc_to_text(const Json& document) {
  const Json format = document.value("options_format", Json(""));
  Json fields = {{"question", value_of(document, "question")},
                 {"options", nullptr},
                 {"category", document.value("category", Json(""))}};
  if (py::truth(format)) {
    const std::vector<std::string> options = texts_of(document, "options");
    if (options.size() > std::size(kRoman))
      fail(ExitCode::kBadInput, "the column options has {} items", options.size());
    std::string text;
    for (size_t i = 0; i < options.size(); ++i) {
      text += formatted(text_of(document, "options_format"),
                        {{"letter", std::string(1, static_cast<char>('A' + i))},
                         {"option", options[i]},
                         {"numeral", kDigits[i]},
                         {"roman_numeral", kRoman[i]},
                         {"lower_case_letter", std::string(1, static_cast<char>('a' + i))}});
    }
    fields["options"] = text;
  }
  return formatted(text_of(document, "prompt"), fields);
}

MetricValues score_prompts_agieval(const Json& d, const Responses& r) { return prompt_results(d, r, kAgieval); }
MetricValues score_prompts_mmlu_pro(const Json& d, const Responses& r) { return prompt_results(d, r, kMmluPro); }
MetricValues score_options_agieval(const Json& d, const Responses& r) { return option_results(d, r, kAgieval); }
MetricValues score_options_mmlu_pro(const Json& d, const Responses& r) { return option_results(d, r, kMmluPro); }
MetricValues score_sampled_agieval(const Json& d, const Responses& r) { return sampled_results(d, r, kAgieval); }
MetricValues score_sampled_mmlu_pro(const Json& d, const Responses& r) { return sampled_results(d, r, kMmluPro); }

double score_accuracy(const std::vector<Json>& values, const Json& key, bool by_category) {
  const size_t size = by_category ? 5 : 4;
  std::vector<const Json*> chosen;
  for (const Json& value : values) {
    if (part(value, size, 1) == key) chosen.push_back(&value);
  }
  return accuracy(chosen, size, 2, by_category ? std::optional<size_t>(4) : std::nullopt);
}

double score_sampled_accuracy(const std::vector<Json>& values) { return sampled_accuracy(values, false); }
double score_sampled_macro_accuracy(const std::vector<Json>& values) { return sampled_accuracy(values, true); }

double score_prompt_consistency(const std::vector<Json>& values) {
  std::vector<std::pair<std::string, std::string>> answers;
  for (const Json& value : values) answers.emplace_back(part(value, 4, 0).dump(), part(value, 4, 2).dump());
  return consistency(answers);
}

// The answer in the place where the right option stands counts as the one where it stood at first.
double score_options_consistency(const std::vector<Json>& values) {
  std::vector<std::pair<std::string, std::string>> answers;
  for (const Json& value : values) {
    const Json& given = part(value, 5, 2);
    const Json original = label_of(part(value, 5, 3).get<int64_t>(), kMmluPro.n_labels);
    const bool is_right = given == part(value, 5, 1);
    answers.emplace_back(part(value, 5, 0).dump(), (is_right ? original : given).dump());
  }
  return consistency(answers);
}

}  // namespace evalmpi::task::native

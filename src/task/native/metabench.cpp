// metabench: rows that bring their examples along, for some tasks with the choices in another order.

#include <algorithm>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/hash.h"
#include "evalmpi/task/python_random.h"
#include "evalmpi/text/python.h"
#include "text_cleaning.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

// A column's value, which leaves the row.
Json take(Json& row, const std::string& column) {
  Json value = value_of(row, column);
  row.erase(column);
  return value;
}

std::string take_text(Json& row, const std::string& column) {
  const std::string text = text_of(row, column);
  row.erase(column);
  return text;
}

void map_whole_rows(Columns& columns, Rows& rows, const std::function<void(Json& row)>& change) {
  map_rows(columns, rows, change);
  if (!rows.empty()) std::erase_if(columns, [&](const std::string& column) { return !rows.front().contains(column); });
}

std::string shot(const char* column, int number) { return std::string(column) + "_shot_" + std::to_string(number); }

void add_hash(Json& row, const char* column) { row["original_hash"] = sha256_hex(text_of(row, column)); }

size_t place_of(const Json& list, const Json& item) {
  const auto found = std::find(list.begin(), list.end(), item);
  if (found == list.end()) fail(ExitCode::kBadInput, "{} is not in {}", py::repr(item), py::repr(list));
  return static_cast<size_t>(found - list.begin());
}

// Shuffles until the right choice, the first that reads as it does, stands elsewhere.
size_t move_answer(Json& choices, size_t right, PythonRandom& random) {
  if (!choices.is_array() || right >= choices.size()) fail(ExitCode::kBadInput, "there is no choice {}", right);
  const Json answer = choices[right];
  constexpr int kMaxShuffles = 1000;
  for (int i = 0; i < kMaxShuffles; ++i) {
    random.shuffle(choices.get_ref<Json::array_t&>());
    const size_t place = place_of(choices, answer);
    if (place != right) return place;
  }
  fail(ExitCode::kBadInput, "the right one of the choices {} cannot change its place", py::repr(choices));
}

void take_arc_examples(Json& row) {
  std::string text;
  for (int i = 1; i <= 25; ++i) {
    text += "Question: " + py::str(take(row, shot("arc_question", i))) + "\nAnswer: ";
    const Json label = take(row, shot("arc_answerKey", i));
    const Json choices = take(row, shot("arc_choices", i));
    const Json& texts = list_of(choices, "text");
    const size_t place = place_of(list_of(choices, "label"), label);
    if (place >= texts.size()) fail(ExitCode::kBadInput, "example {} has fewer texts than labels", i);
    text += py::str(texts[place]) + "\n\n";
    take(row, shot("arc_idx", i));
  }
  row["twentyfive_shot_preprompt"] = text;
}

void take_mmlu_examples(Json& row) {
  std::string text = "The following are multiple choice questions (with answers) about " +
                     py::join(py::split(text_of(row, "subject"), "_"), " ") + ".\n\n";
  for (int i = 1; i <= 5; ++i) {
    text += py::strip(take_text(row, shot("mmlu_question", i))) + "\n";
    const Json choices = take(row, shot("mmlu_choices", i));
    if (!choices.is_array() || choices.size() < 4) fail(ExitCode::kBadInput, "example {} has fewer than 4 choices", i);
    for (size_t k = 0; k < 4; ++k)
      text += std::string(1, static_cast<char>('A' + k)) + ". " + py::str(choices[k]) + "\n";
    const int64_t answer = parsed_integer(row, shot("mmlu_answers", i));
    if (answer < 0 || answer > 3) fail(ExitCode::kBadInput, "example {} has the answer {}", i, answer);
    text += std::string("Answer: ") + static_cast<char>('A' + answer) + "\n\n";
    row.erase(shot("mmlu_answers", i));
    take(row, shot("mmlu_ind", i));
  }
  add_hash(row, "question");
  row["five_shot_preprompt"] = text;
  take(row, "allfiveshot_longprompt");
}

std::string hellaswag_question(const std::string& activity, const std::string& a, const std::string& b) {
  return clean_brackets(activity + ": " + a + " " + py::capitalize(b));
}

void take_hellaswag_examples(Json& row) {
  std::string text;
  for (int i = 1; i <= 10; ++i) {
    const std::string a = take_text(row, shot("hellaswag_ctx_a", i));
    const std::string b = take_text(row, shot("hellaswag_ctx_b", i));
    take(row, shot("hellaswag_ctx", i));
    const std::string question = hellaswag_question(take_text(row, shot("hellaswag_activity_labels", i)), a, b);
    const std::vector<std::string> endings = texts_of(row, shot("hellaswag_endings", i));
    const auto label = static_cast<size_t>(parsed_integer(row, shot("hellaswag_label", i)));
    if (label >= endings.size()) fail(ExitCode::kBadInput, "example {} has no ending {}", i, label);
    text += question + " " + clean_brackets(endings[label]) + "\n\n";
    for (const char* column : {"hellaswag_endings", "hellaswag_label", "hellaswag_ind", "hellaswag_source_id",
                               "hellaswag_split", "hellaswag_split_type"}) {
      take(row, shot(column, i));
    }
  }
  add_hash(row, "query");
  row["ten_shot_preprompt"] = text;
  take(row, "alltenshot_longprompt");
}

void make_hellaswag(Json& row, PythonRandom* random) {
  const std::string a = take_text(row, "ctx_a");
  const std::string b = take_text(row, "ctx_b");
  take(row, "ctx");
  row["query"] = hellaswag_question(text_of(row, "activity_label"), a, b);
  if (random != nullptr) {
    row["label"] =
        std::to_string(move_answer(row["endings"], static_cast<size_t>(parsed_integer(row, "label")), *random));
  }
  Json choices = Json::array();
  for (const std::string& ending : texts_of(row, "endings")) choices.push_back(clean_brackets(ending));
  row["choices"] = choices;
  row["gold"] = parsed_integer(row, "label");
  take(row, "activity_label");
  take(row, "endings");
  take_hellaswag_examples(row);
}

void take_winogrande_examples(Json& row) {
  std::string text;
  for (int i = 1; i <= 5; ++i) {
    const std::string answer = take_text(row, shot("winogrande_answer", i));
    if (answer != "1" && answer != "2") fail(ExitCode::kBadInput, "example {} has the answer '{}'", i, answer);
    const std::string options[] = {take_text(row, shot("winogrande_option1", i)),
                                   take_text(row, shot("winogrande_option2", i))};
    text += py::replace(take_text(row, shot("winogrande_prompt", i)), "_", options[answer == "1" ? 0 : 1]) + "\n\n";
    take(row, shot("winogrande_idx", i));
  }
  add_hash(row, "sentence");
  row["sentence"] = text + text_of(row, "sentence");
  take(row, "allfiveshot_longprompt");
}

}  // namespace

void metabench_arc(Columns& columns, Rows& rows) {
  map_whole_rows(columns, rows, [](Json& row) {
    take_arc_examples(row);
    add_hash(row, "question");
    take(row, "alltwentyfiveshot_longprompt");
  });
}

void metabench_arc_permuted(Columns& columns, Rows& rows) {
  PythonRandom random(42);
  map_whole_rows(columns, rows, [&](Json& row) {
    take_arc_examples(row);
    take(row, "alltwentyfiveshot_longprompt");
    add_hash(row, "question");
    Json& choices = row["choices"];
    const Json labels = list_of(choices, "label");
    list_of(choices, "text");
    const size_t place = move_answer(choices["text"], place_of(labels, value_of(row, "answerKey")), random);
    if (place >= labels.size()) fail(ExitCode::kBadInput, "the column choices has fewer labels than texts");
    row["answerKey"] = labels[place];
  });
}

void metabench_gsm8k(Columns& columns, Rows& rows) {
  map_whole_rows(columns, rows, [](Json& row) {
    std::string text;
    for (int i = 1; i <= 5; ++i) {
      text += "Question: " + py::str(take(row, shot("gsm8k_prompt", i))) + "\nAnswer: ";
      text += py::str(take(row, shot("gsm8k_answer", i))) + "\n\n";
      take(row, shot("gsm8k_idx", i));
    }
    add_hash(row, "question");
    row["five_shot_preprompt"] = text;
    take(row, "allfiveshot_longprompt");
  });
}

void metabench_hellaswag(Columns& columns, Rows& rows) {
  map_whole_rows(columns, rows, [](Json& row) { make_hellaswag(row, nullptr); });
}

void metabench_hellaswag_permuted(Columns& columns, Rows& rows) {
  PythonRandom random(42);
  map_whole_rows(columns, rows, [&](Json& row) { make_hellaswag(row, &random); });
}

void metabench_mmlu(Columns& columns, Rows& rows) { map_whole_rows(columns, rows, take_mmlu_examples); }

void metabench_mmlu_permuted(Columns& columns, Rows& rows) {
  PythonRandom random(42);
  map_whole_rows(columns, rows, [&](Json& row) {
    take_mmlu_examples(row);
    list_of(row, "choices");
    row["answer"] = move_answer(row["choices"], static_cast<size_t>(parsed_integer(row, "answer")), random);
  });
}

void metabench_truthfulqa(Columns& columns, Rows& rows) {
  map_whole_rows(columns, rows, [](Json& row) { add_hash(row, "question"); });
}

void metabench_truthfulqa_permuted(Columns& columns, Rows& rows) {
  PythonRandom random(42);
  map_whole_rows(columns, rows, [&](Json& row) {
    list_of(value_of(row, "mc1_targets"), "choices");
    const size_t n_labels = list_of(value_of(row, "mc1_targets"), "labels").size();
    const size_t place = move_answer(row["mc1_targets"]["choices"], 0, random);
    if (place >= n_labels) fail(ExitCode::kBadInput, "the column mc1_targets has fewer labels than choices");
    Json labels = Json(Json::array_t(n_labels, Json(0)));
    labels[place] = 1;
    add_hash(row, "question");
    row["mc1_targets"]["labels"] = labels;
    row["answer"] = place;
  });
}

void metabench_winogrande(Columns& columns, Rows& rows) { map_whole_rows(columns, rows, take_winogrande_examples); }

// The options change places.
void metabench_winogrande_permuted(Columns& columns, Rows& rows) {
  map_whole_rows(columns, rows, [](Json& row) {
    take_winogrande_examples(row);
    const Json first = value_of(row, "option1");
    row["option1"] = value_of(row, "option2");
    row["option2"] = first;
    const Json& answer = value_of(row, "answer");
    if (answer == "1" || answer == "2") row["answer"] = answer == "1" ? "2" : "1";
  });
}

}  // namespace evalmpi::task::native

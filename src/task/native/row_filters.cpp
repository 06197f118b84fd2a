// process_docs functions that only keep some rows; the name of a function says which: process_abstract_algebra.

#include <algorithm>

#include "columns.h"
#include "evalmpi/text/python.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

// "abstract_algebra" of ".../utils.process_abstract_algebra" where `prefix` is "process_".
std::string subject_of(std::string_view path, std::string_view prefix) {
  const size_t dot = path.rfind('.');
  return std::string(path.substr(dot + 1 + prefix.size()));
}

// The last folder of the function's file.
std::string folder_of(std::string_view path) {
  const size_t end = path.rfind('/');
  const size_t begin = end == path.npos || end == 0 ? path.npos : path.rfind('/', end - 1);
  if (end == path.npos) return "";
  return std::string(path.substr(begin == path.npos ? 0 : begin + 1, end - (begin == path.npos ? 0 : begin + 1)));
}

void keep_equal(std::vector<Json>& rows, const char* column, const std::string& wanted) {
  keep_rows(rows, [&](const Json& row) { return value_of(row, column) == Json(wanted); });
}

// Where functions have underscores and lower case for the values of a column.
void keep_as_named(std::vector<Json>& rows, const char* column, const std::string& wanted) {
  keep_rows(rows, [&](const Json& row) {
    return py::replace(py::replace(py::lower(text_of(row, column)), " & ", "_"), " ", "_") == wanted;
  });
}

}  // namespace

void keep_subject(std::vector<std::string>&, std::vector<Json>& rows, std::string_view path) {
  keep_equal(rows, "subject", subject_of(path, "process_"));
}

// MMLU-Pro's categories have spaces where functions have underscores.
void keep_category(std::vector<std::string>&, std::vector<Json>& rows, std::string_view path) {
  keep_equal(rows, "category", py::replace(subject_of(path, "process_"), "_", " "));
}

void keep_filtered_category(std::vector<std::string>&, std::vector<Json>& rows, std::string_view path) {
  keep_equal(rows, "category", subject_of(path, "filter_"));
}

void keep_filtered_gender(std::vector<std::string>&, std::vector<Json>& rows, std::string_view path) {
  keep_equal(rows, "gender", subject_of(path, "filter_"));
}

// "process_docs_sanskrit_mix" keeps the subject "Sanskrit Mix".
void keep_indic_subject(std::vector<std::string>&, std::vector<Json>& rows, std::string_view path) {
  std::string subject = subject_of(path, "process_docs_");
  if (subject == "gujarati") subject += "_surya";
  if (subject == "sanskrit_mix") subject = "sanskrit Mix";
  if (!subject.empty()) subject[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(subject[0])));
  keep_equal(rows, "subject", subject);
}

// "process_social_sciences" keeps the category "Social Sciences" of Global-MMLU's light part.
void keep_subject_category(std::vector<std::string>&, std::vector<Json>& rows, std::string_view path) {
  keep_as_named(rows, "subject_category", subject_of(path, "process_"));
}

// "process_arts_humanities" keeps the domain "Arts & Humanities".
void keep_domain(std::vector<std::string>&, std::vector<Json>& rows, std::string_view path) {
  keep_as_named(rows, "domain", subject_of(path, "process_"));
}

// "mmlu_es/utils.process_docs_law" keeps rows of mmlu_es_chat.law.
void keep_subtask(std::vector<std::string>&, std::vector<Json>& rows, std::string_view path) {
  keep_equal(rows, "subtask_name", folder_of(path) + "_chat." + subject_of(path, "process_docs_"));
}

// The column may hold a file name: "virology_test.csv_sw-KE.csv" is virology.
void keep_mmmlu_subject(std::vector<std::string>&, std::vector<Json>& rows, std::string_view path) {
  const std::string subject = subject_of(path, "process_");
  keep_rows(rows, [&](const Json& row) {
    const Json& value = value_of(row, "Subject");
    if (!value.is_string()) return false;
    const std::string& name = value.get_ref<const std::string&>();
    size_t end = name.find("_test.csv");
    if (end == name.npos) end = name.find("_test-");
    return name.substr(0, end) == subject;
  });
}

void bigbench_filter_multiple_choice(std::vector<std::string>&, std::vector<Json>& rows) {
  keep_rows(rows, [](const Json& row) { return !list_of(row, "multiple_choice_targets").empty(); });
}

void eus_exams_process_docs(std::vector<std::string>&, std::vector<Json>& rows) {
  keep_rows(rows, [](const Json& row) {
    const Json& answer = value_of(row, "answer");
    const bool valid = answer.is_number() && (answer == 0 || answer == 1 || answer == 2 || answer == 3);
    return valid && list_of(row, "candidates") != Json::array({"", "", "", ""});
  });
}

// "filter_race_color" keeps the bias types that begin with what it stands for.
void crows_pairs_filter(std::vector<std::string>&, std::vector<Json>& rows, std::string_view path) {
  struct Bias {
    const char* function;
    const char* type;
  };
  constexpr Bias kBiases[] = {{"race_color", "race-color"},
                              {"socio", "socioeconomic"},
                              {"orientation", "sexual-orientation"},
                              {"appearance", "physical-appearance"}};
  std::string type = subject_of(path, "filter_");
  for (const Bias& bias : kBiases) {
    if (type == bias.function) type = bias.type;
  }
  keep_rows(rows, [&](const Json& row) { return text_of(row, "bias_type").starts_with(type); });
}

}  // namespace evalmpi::task::native

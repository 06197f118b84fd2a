#include <algorithm>

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

const Json& field(const Json& row, const char* column, size_t position, Json::value_t type) {
  const auto found = row.find(column);
  if (found == row.end() || found->type() != type) {
    fail(ExitCode::kBadInput, "row {}: the column {} is missing or of the wrong kind", position, column);
  }
  return *found;
}

// HellaSwag's contexts from WikiHow carry marks in brackets, " [title]" being the only one that ends a sentence.
std::string clean_hellaswag(const std::string& passage, const text::Regex& brackets) {
  const std::string titled = py::replace(py::strip(passage), " [title]", ". ");
  return py::replace(brackets.replace_all(titled, ""), "  ", " ");
}

}  // namespace

void hellaswag_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) {
  const text::Regex brackets = text::Regex::compile("\\[.*?\\]", "hellaswag");
  using Kind = Json::value_t;
  for (size_t i = 0; i < rows.size(); ++i) {
    Json& row = rows[i];
    const std::string context = field(row, "ctx_a", i, Kind::string).get<std::string>() + " " +
                                py::capitalize(field(row, "ctx_b", i, Kind::string).get<std::string>());
    Json choices = Json::array();
    for (const Json& ending : field(row, "endings", i, Kind::array)) {
      if (!ending.is_string()) fail(ExitCode::kBadInput, "row {}: the column endings must hold texts", i);
      choices.push_back(clean_hellaswag(ending.get<std::string>(), brackets));
    }
    // int(label): a row without an answer (the test split) has "" there and cannot be scored.
    const std::string label = py::strip(py::str(row.value("label", Json())));
    if (label.empty() || label.size() > 9 || label.find_first_not_of("0123456789") != label.npos) {
      fail(ExitCode::kBadInput, "row {}: the column label must be a number, not '{}'", i, label);
    }
    const std::string activity = field(row, "activity_label", i, Kind::string).get<std::string>();
    row["query"] = clean_hellaswag(activity + ": " + context, brackets);
    row["choices"] = std::move(choices);
    row["gold"] = std::stoi(label);
  }
  for (const char* added : {"query", "choices", "gold"}) {
    if (std::find(columns.begin(), columns.end(), added) == columns.end()) columns.emplace_back(added);
  }
}

}  // namespace evalmpi::task::native

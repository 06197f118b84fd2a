#include "columns.h"

#include <algorithm>
#include <cmath>

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

[[noreturn]] void wrong_kind(std::string_view column, const char* kind, const Json& value) {
  fail(ExitCode::kBadInput, "the column {} must hold {}, not {}", column, kind, py::repr(value));
}

std::vector<std::string> texts_in(const Json& list, std::string_view column) {
  if (!list.is_array()) wrong_kind(column, "a list", list);
  std::vector<std::string> texts;
  for (const Json& item : list) {
    if (!item.is_string()) wrong_kind(column, "texts", list);
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

template <typename Body>
auto for_row(size_t row, Body body) {
  try {
    return body();
  } catch (const Error& error) {
    fail(error.code(), "row {}: {}", row, error.what());
  }
}

}  // namespace

const Json& value_of(const Json& document, std::string_view column) {
  const auto found = document.is_object() ? document.find(std::string(column)) : document.end();
  if (found == document.end()) fail(ExitCode::kBadInput, "the column {} is missing", column);
  return *found;
}

const std::string& text_of(const Json& document, std::string_view column) {
  const Json& value = value_of(document, column);
  if (!value.is_string()) wrong_kind(column, "text", value);
  return value.get_ref<const std::string&>();
}

int64_t integer_of(const Json& document, std::string_view column) {
  const Json& value = value_of(document, column);
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (!value.is_number_integer()) wrong_kind(column, "an integer", value);
  return value.get<int64_t>();
}

double number_of(const Json& document, std::string_view column) {
  const Json& value = value_of(document, column);
  if (!value.is_number()) wrong_kind(column, "a number", value);
  return value.get<double>();
}

const Json& list_of(const Json& document, std::string_view column) {
  const Json& value = value_of(document, column);
  if (!value.is_array()) wrong_kind(column, "a list", value);
  return value;
}

std::vector<std::string> texts_of(const Json& document, std::string_view column) {
  return texts_in(value_of(document, column), column);
}

std::vector<std::string> texts_of(const Json& document, std::string_view outer, std::string_view inner) {
  const std::string name = std::string(outer) + "." + std::string(inner);
  return texts_in(value_of(value_of(document, outer), inner), name);
}

int64_t letter_position(const Json& document, std::string_view column, int64_t n_letters) {
  const std::string& letter = text_of(document, column);
  if (letter.size() != 1 || letter[0] < 'A' || letter[0] - 'A' >= n_letters) {
    fail(ExitCode::kBadInput, "the column {} must be one of the first {} letters, not '{}'", column, n_letters, letter);
  }
  return letter[0] - 'A';
}

Json literal_list(const Json& document, std::string_view column) {
  const std::optional<Json> value = text::python::parse_literal(text_of(document, column));
  if (!value || !value->is_array()) fail(ExitCode::kBadInput, "the column {} is not a list in Python's words", column);
  return *value;
}

std::string formatted(std::string_view text, const Json& document) {
  std::string out;
  while (!text.empty()) {
    const size_t open = text.find('{');
    out += text.substr(0, open);
    if (open == text.npos) break;
    const size_t close = text.find('}', open);
    EVALMPI_CHECK(close != text.npos);
    const std::string_view field = text.substr(open + 1, close - open - 1);
    const size_t bracket = field.find('[');
    if (bracket == field.npos) {
      out += text::python::str(value_of(document, field));
    } else {
      const std::string_view column = field.substr(0, bracket);
      const Json list =
          value_of(document, column).is_array() ? value_of(document, column) : literal_list(document, column);
      const auto place = static_cast<size_t>(field[bracket + 1] - '0');
      if (place >= list.size()) fail(ExitCode::kBadInput, "the column {} has {} items", column, list.size());
      out += text::python::str(list[place]);
    }
    text.remove_prefix(close + 1);
  }
  return out;
}

int64_t parsed_integer(const Json& document, std::string_view column) {
  const Json& value = value_of(document, column);
  if (!value.is_string()) return integer_of(document, column);
  const std::string digits = py::strip(value.get_ref<const std::string&>());
  if (digits.empty() || digits.size() > 9 || digits.find_first_not_of("0123456789") != digits.npos) {
    wrong_kind(column, "a number", value);
  }
  return std::stoll(digits);
}

void map_rows(std::vector<std::string>& columns, std::vector<Json>& rows,
              const std::function<void(Json& row)>& change) {
  for (size_t i = 0; i < rows.size(); ++i) {
    for_row(i, [&] { change(rows[i]); });
  }
  if (rows.empty()) return;
  for (const auto& [column, value] : rows.front().items()) {
    if (std::find(columns.begin(), columns.end(), column) == columns.end()) columns.push_back(column);
  }
}

void keep_rows(std::vector<Json>& rows, const std::function<bool(const Json& row)>& keep) {
  size_t kept = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!for_row(i, [&] { return keep(rows[i]); })) continue;
    if (kept != i) rows[kept] = std::move(rows[i]);
    ++kept;
  }
  rows.resize(kept);
}

std::vector<double> log_likelihoods(const std::vector<Json>& responses) {
  std::vector<double> values;
  for (const Json& response : responses) {
    if (!response.is_array() || response.size() != 2 || !response[0].is_number()) {
      fail(ExitCode::kBadInput, "the filters must leave one log-likelihood for each request, not {}",
           py::repr(response));
    }
    values.push_back(response[0].get<double>());
  }
  return values;
}

const std::string& only_text(const std::vector<Json>& responses) {
  if (responses.size() != 1 || !responses[0].is_string()) {
    fail(ExitCode::kBadInput, "the filters must leave one text, not {}", py::repr(Json(responses)));
  }
  return responses[0].get_ref<const std::string&>();
}

size_t argmax(const std::vector<double>& values) {
  size_t best = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) return i;
    if (values[i] > values[best]) best = i;
  }
  return best;
}

}  // namespace evalmpi::task::native

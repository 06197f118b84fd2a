#include "fields.h"

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

// All digits, and read as Python reads such a literal ("01" and "²" are no literals).
Json index_of_digits(const std::string& digits, const std::string& where) {
  const std::optional<Json> value = py::parse_literal(digits);
  if (!value || !value->is_number_integer()) {
    fail(ExitCode::kBadInput, "{}: '{}' is no index of a choice", where, digits);
  }
  return *value;
}

}  // namespace

Field Field::compile(const Json& spec, const Columns& columns, const std::string& where) {
  Field field;
  field.where_ = where;
  if (spec.is_null()) return field;
  if (is_function(spec)) {
    std::optional<BoundFunction> function = find_native(spec, FunctionRole::kDocumentField);
    if (!function) fail(ExitCode::kBadInput, "{}: {} is not built in", where, function_identity(spec));
    field.kind_ = Kind::kFunction;
    field.function_ = std::move(*function);
    return field;
  }
  if (!spec.is_string()) {
    field.kind_ = Kind::kValue;
    field.value_ = spec;
    return field;
  }
  field.name_ = spec.get<std::string>();
  if (columns.contains(field.name_)) {
    field.kind_ = Kind::kColumn;
  } else {
    field.kind_ = Kind::kTemplate;
    field.template_ = text::Template::parse(field.name_, where);
  }
  return field;
}

const Json& Field::column(const Json& document) const {
  const auto found = document.find(name_);
  if (found == document.end()) fail(ExitCode::kBadInput, "{}: a document has no column {}", where_, name_);
  return *found;
}

Json Field::value(const Json& document) const {
  switch (kind_) {
    case Kind::kNone: return nullptr;
    case Kind::kColumn: return column(document);
    case Kind::kTemplate: return template_->render(document);
    case Kind::kFunction: return function_.field(document);
    case Kind::kValue: return value_;
  }
  return nullptr;
}

Json Field::evaluated(const Json& document) const {
  return kind_ == Kind::kTemplate ? template_->evaluate(document) : value(document);
}

std::string Field::text(const Json& document) const {
  Json result = value(document);
  if (!result.is_string()) fail(ExitCode::kBadInput, "{}: must give text, not {}", where_, py::repr(result));
  return std::move(result.get_ref<std::string&>());
}

Json question_of(const Field& field, const Json& document, bool has_choices) {
  Json result = field.value(document);
  if (result.is_string() && has_choices && py::is_digit(result.get_ref<const std::string&>()) && !field.is_final()) {
    return index_of_digits(result.get_ref<const std::string&>(), field.where());
  }
  return result;
}

Json target_of(const Field& field, const Json& document, bool has_choices) {
  Json result = field.value(document);
  if (!result.is_string() || field.is_final()) return result;
  const std::string& target = result.get_ref<const std::string&>();
  if (has_choices && py::is_digit(target)) return index_of_digits(target, field.where());
  if (target.size() >= 2 && target.front() == '[' && target.back() == ']') {
    if (const std::optional<Json> list = py::parse_literal(target)) return *list;
  }
  return result;
}

std::vector<std::string> choices_of(const Field& field, const Json& document) {
  Json list = field.evaluated(document);
  if (list.is_string() && !field.is_final()) {
    const std::optional<Json> literal = py::parse_literal(list.get_ref<const std::string&>());
    if (!literal) {
      fail(ExitCode::kBadInput, "{}: '{}' is not a Python list", field.where(), list.get_ref<const std::string&>());
    }
    list = *literal;
  }
  // A mapping in the task file stands for its values.
  if (!list.is_array() && !list.is_object()) {
    fail(ExitCode::kBadInput, "{}: must give a list of choices, not {}", field.where(), py::repr(list));
  }
  std::vector<std::string> choices;
  choices.reserve(list.size());
  for (const Json& choice : list) choices.push_back(py::str(choice));
  return choices;
}

}  // namespace evalmpi::task

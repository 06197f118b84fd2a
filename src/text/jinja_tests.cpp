#include <charconv>
#include <cstdlib>
#include <unordered_map>

#include "evalmpi/text/python.h"
#include "jinja_filters.h"
#include "jinja_numbers.h"

namespace evalmpi::text::jinja {
namespace {

using Test = bool (*)(const Value&, const Value*);

bool is_iterable(const Value& value) {
  require_usable(value);
  return value.is_undefined() || value.as_text() || value.as_list() || value.as_dict();
}

bool is_sequence(const Value& value) {
  const List* list = value.as_list();
  return value.as_text() || value.as_dict() ||
         (list && (list->form == List::Form::kList || list->form == List::Form::kTuple));
}

bool is_callable(const Value& value) {
  return value.as<Function>() || value.as<Method>() || value.as<std::shared_ptr<const Macro>>();
}

bool is_odd(const Value& value) { return truth(arithmetic("%", value, Value(int64_t{2}))); }

bool is_same(const Value& left, const Value& right) {
  if (left.is_undefined() || right.is_undefined()) return false;
  return type_name(left) == type_name(right) && equal(left, right);
}

// Tests without an argument.
const std::unordered_map<std::string, Test>& plain_tests() {
  static const std::unordered_map<std::string, Test> kTests{
      {"boolean", [](const Value& v, const Value*) { return v.as<bool>() != nullptr; }},
      {"callable", [](const Value& v, const Value*) { return is_callable(v); }},
      {"defined", [](const Value& v, const Value*) { return !v.is_undefined(); }},
      {"even", [](const Value& v, const Value*) { return !is_odd(v); }},
      {"false", [](const Value& v, const Value*) { return v.as<bool>() && !*v.as<bool>(); }},
      {"float", [](const Value& v, const Value*) { return v.as<double>() != nullptr; }},
      {"integer", [](const Value& v, const Value*) { return v.as<int64_t>() != nullptr; }},
      {"iterable", [](const Value& v, const Value*) { return is_iterable(v); }},
      {"lower",
       [](const Value& v, const Value*) {
         const std::string t = to_text(v);
         return t == python::lower(t) && t != python::upper(t);
       }},
      {"mapping", [](const Value& v, const Value*) { return v.as_dict() != nullptr; }},
      {"none", [](const Value& v, const Value*) { return v.is_none(); }},
      {"number", [](const Value& v, const Value*) { return v.is_number(); }},
      {"odd", [](const Value& v, const Value*) { return is_odd(v); }},
      {"sequence", [](const Value& v, const Value*) { return is_sequence(v); }},
      {"string", [](const Value& v, const Value*) { return v.as_text() != nullptr; }},
      {"true", [](const Value& v, const Value*) { return v.as<bool>() && *v.as<bool>(); }},
      {"undefined", [](const Value& v, const Value*) { return v.is_undefined(); }},
      {"upper", [](const Value& v, const Value*) {
         const std::string t = to_text(v);
         return t == python::upper(t) && t != python::lower(t);
       }}};
  return kTests;
}

// Tests with one argument.
const std::unordered_map<std::string, Test>& binary_tests() {
  static const std::unordered_map<std::string, Test> kTests = [] {
    std::unordered_map<std::string, Test> table;
    table["divisibleby"] = [](const Value& v, const Value* a) { return !truth(arithmetic("%", v, *a)); };
    table["in"] = [](const Value& v, const Value* a) { return contains(*a, v); };
    table["sameas"] = [](const Value& v, const Value* a) { return is_same(v, *a); };
    table["eq"] = table["equalto"] = table["=="] = [](const Value& v, const Value* a) { return equal(v, *a); };
    table["ne"] = table["!="] = [](const Value& v, const Value* a) { return !equal(v, *a); };
    table["lt"] = table["lessthan"] = table["<"] = [](const Value& v, const Value* a) { return less(v, *a, "<"); };
    table["gt"] = table["greaterthan"] = table[">"] = [](const Value& v, const Value* a) { return less(*a, v, ">"); };
    table["le"] = table["<="] = [](const Value& v, const Value* a) { return less(v, *a, "<=") || equal(v, *a); };
    table["ge"] = table[">="] = [](const Value& v, const Value* a) { return less(*a, v, ">=") || equal(v, *a); };
    return table;
  }();
  return kTests;
}

// The digits of a trimmed number without single underscores between digits; nothing where one is out of place.
std::optional<std::string> without_underscores(std::string_view text) {
  const std::string trimmed = python::strip(text);
  const auto digit_at = [&](size_t i) { return i < trimmed.size() && trimmed[i] >= '0' && trimmed[i] <= '9'; };
  std::string out;
  for (size_t i = 0; i < trimmed.size(); ++i) {
    if (trimmed[i] != '_') {
      out += trimmed[i];
    } else if (i == 0 || !digit_at(i - 1) || !digit_at(i + 1)) {
      return {};
    }
  }
  return out;
}

}  // namespace

bool is_test(const std::string& name) { return plain_tests().contains(name) || binary_tests().contains(name); }

bool apply_test(const std::string& name, const Value& subject, const Arguments& arguments, Budget& budget) {
  budget.charge(1);
  if (const auto plain = plain_tests().find(name); plain != plain_tests().end()) {
    arguments.bind(name, {});
    return plain->second(subject, nullptr);
  }
  const auto bound = arguments.bind(name, {"other"});
  if (!bound[0]) throw Problem(fmt::format("the test {} needs an argument", name));
  budget.charge(weight_of(subject) + weight_of(*bound[0]));
  if (subject.as_text() && bound[0]->as_text()) budget.charge(search_steps(*bound[0]->as_text(), *subject.as_text()));
  return binary_tests().at(name)(subject, &*bound[0]);
}

std::optional<int64_t> parse_integer(std::string_view text) {
  const auto digits = without_underscores(text);
  if (!digits) return {};
  std::string_view rest = *digits;
  if (rest.starts_with('+')) {
    rest.remove_prefix(1);
    if (rest.starts_with('-')) return {};
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (end != rest.data() + rest.size() || rest.empty() || error == std::errc::invalid_argument) return {};
  if (error == std::errc::result_out_of_range) throw Problem("an integer leaves the range of int64");
  return value;
}

std::optional<double> parse_float(std::string_view text) {
  const auto digits = without_underscores(text);
  if (!digits || digits->empty()) return {};
  const std::string lowered = python::lower(*digits);
  const std::string_view unsigned_text =
      std::string_view(lowered).substr(lowered[0] == '-' || lowered[0] == '+' ? 1 : 0);
  const bool is_word = unsigned_text == "inf" || unsigned_text == "infinity" || unsigned_text == "nan";
  if (!is_word &&
      (unsigned_text.empty() || unsigned_text.find_first_not_of("0123456789.e+-") != std::string_view::npos)) {
    return {};
  }
  char* end = nullptr;
  const double value = std::strtod(lowered.c_str(), &end);
  if (end != lowered.c_str() + lowered.size()) return {};
  return value;
}

}  // namespace evalmpi::text::jinja

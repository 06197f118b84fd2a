#include <cmath>
#include <cstdio>

#include "evalmpi/text/python.h"
#include "jinja_value.h"

namespace evalmpi::text::jinja {
namespace {

[[noreturn]] void fail_overflow() { throw Problem("an integer leaves the range of int64"); }

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) throw Problem("integer division or modulo by zero");
  if (a == INT64_MIN && b == -1) fail_overflow();
  const int64_t quotient = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

Value power(const Value& left, const Value& right) {
  if (left.as<double>() || right.as<double>() || integer_of(right, "exponent") < 0) {
    const double base = number_of(left, "base");
    const double exponent = number_of(right, "exponent");
    if (base == 0 && exponent < 0) throw Problem("zero cannot be raised to a negative power");
    const double out = std::pow(base, exponent);
    if (std::isnan(out) && !std::isnan(base) && !std::isnan(exponent))
      throw Problem("complex numbers are not supported");
    if (std::isinf(out) && std::isfinite(base) && std::isfinite(exponent))
      throw Problem("the result of ** is too large");
    return Value(out);
  }
  const int64_t base = integer_of(left, "base");
  int64_t exponent = integer_of(right, "exponent");
  int64_t out = 1;
  if (base == 0 || base == 1) return Value(exponent == 0 ? int64_t{1} : base);
  if (base == -1) return Value(exponent % 2 == 0 ? int64_t{1} : int64_t{-1});
  for (; exponent > 0; --exponent) {
    if (__builtin_mul_overflow(out, base, &out)) fail_overflow();
  }
  return Value(out);
}

Value integer_arithmetic(std::string_view sign, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflow = false;
  if (sign == "+") {
    overflow = __builtin_add_overflow(a, b, &out);
  } else if (sign == "-") {
    overflow = __builtin_sub_overflow(a, b, &out);
  } else if (sign == "*") {
    overflow = __builtin_mul_overflow(a, b, &out);
  } else if (sign == "//") {
    out = floor_divide(a, b);
  } else {
    if (b == 0) throw Problem("integer division or modulo by zero");
    out = b == -1 ? 0 : a - b * floor_divide(a, b);
  }
  if (overflow) fail_overflow();
  return Value(out);
}

Value float_arithmetic(std::string_view sign, double a, double b) {
  if (sign == "+") return Value(a + b);
  if (sign == "-") return Value(a - b);
  if (sign == "*") return Value(a * b);
  if (b == 0) throw Problem("division by zero");
  if (sign == "/") return Value(a / b);
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  if (sign == "%") return Value(remainder == 0 ? std::copysign(0.0, b) : remainder);
  const double quotient = (a - remainder) / b;
  if (quotient == 0) return Value(std::copysign(0.0, a / b));
  const double whole = std::floor(quotient);
  return Value(quotient - whole > 0.5 ? whole + 1 : whole);
}

Value repeat(const Value& sequence, int64_t count) {
  const uint64_t times = count > 0 ? static_cast<uint64_t>(count) : 0;
  if (const std::string* text = sequence.as_text()) {
    if (!text->empty() && times > kMaxTextBytes / text->size()) throw Problem("text above 64 MiB");
    std::string out;
    if (!text->empty()) {
      for (uint64_t i = 0; i < times; ++i) out += *text;
    }
    return Value::text(std::move(out));
  }
  const List& list = *sequence.as_list();
  std::vector<Value> out;
  if (!list.items.empty() && times > kMaxSteps / 4 / list.items.size()) throw Problem("a list is too long");
  for (uint64_t i = 0; !list.items.empty() && i < times; ++i)
    out.insert(out.end(), list.items.begin(), list.items.end());
  return Value::list(std::move(out), list.form);
}

bool is_sequence(const Value& value) {
  const List* list = value.as_list();
  return value.as_text() || (list && (list->form == List::Form::kList || list->form == List::Form::kTuple));
}

// One %-conversion: flags, width and precision up to `kind` are checked before snprintf sees them.
std::string convert(const std::string& specification, char kind, const Value& value) {
  require_defined(value);
  const auto print = [](const std::string& format, auto argument) {
    char buffer[512];
    const int size = std::snprintf(buffer, sizeof buffer, format.c_str(), argument);
    if (size < 0 || size >= static_cast<int>(sizeof buffer)) throw Problem("a formatted number is too long");
    return std::string(buffer, static_cast<size_t>(size));
  };
  if (kind == 'd' || kind == 'i') {
    const double* number = value.as<double>();
    if (number && std::abs(*number) > 9e18) fail_overflow();
    const long long integer = number ? static_cast<long long>(*number) : integer_of(value, "%d argument");
    return print(specification + "lld", integer);
  }
  if (kind == 'f' || kind == 'F' || kind == 'e' || kind == 'g') {
    return print(specification + kind, number_of(value, "a % argument"));
  }
  if (specification != "%") throw Problem("width and precision of %s and %r are not supported");
  return kind == 'r' ? to_repr(value) : to_text(value);
}

}  // namespace

Value arithmetic(std::string_view sign, const Value& left, const Value& right) {
  require_defined(left);
  require_defined(right);
  if (left.is_number() && right.is_number()) {
    if (sign == "**") return power(left, right);
    if (left.as<double>() || right.as<double>() || sign == "/") {
      return float_arithmetic(sign, number_of(left, "operand"), number_of(right, "operand"));
    }
    return integer_arithmetic(sign, integer_of(left, "operand"), integer_of(right, "operand"));
  }
  if (sign == "+" && left.as_text() && right.as_text()) {
    return Value::text(*left.as_text() + *right.as_text());
  }
  if (sign == "+" && is_sequence(left) && is_sequence(right) && type_name(left) == type_name(right)) {
    std::vector<Value> out = left.as_list()->items;
    out.insert(out.end(), right.as_list()->items.begin(), right.as_list()->items.end());
    return Value::list(std::move(out), left.as_list()->form);
  }
  if (sign == "*" && is_sequence(left) && (right.as<int64_t>() || right.as<bool>())) {
    return repeat(left, integer_of(right, "count"));
  }
  if (sign == "*" && is_sequence(right) && (left.as<int64_t>() || left.as<bool>())) {
    return repeat(right, integer_of(left, "count"));
  }
  if (sign == "%" && left.as_text()) {
    const List* list = right.as_list();
    const bool tuple = list && list->form == List::Form::kTuple;
    if (tuple) return Value::text(percent_format(*left.as_text(), list->items));
    // Python lets a format without fields pass over a list or dict, which might be a mapping for %(name)s.
    const bool may_be_unused = (list || right.as_dict()) && left.as_text()->find('%') == std::string::npos;
    return may_be_unused ? left : Value::text(percent_format(*left.as_text(), {right}));
  }
  throw Problem(
      fmt::format("unsupported operand types for {}: '{}' and '{}'", sign, type_name(left), type_name(right)));
}

Value negate(const Value& value) {
  require_defined(value);
  if (const double* number = value.as<double>()) return Value(-*number);
  const int64_t number = integer_of(value, "operand of -");
  if (number == INT64_MIN) fail_overflow();
  return Value(-number);
}

std::string percent_format(const std::string& pattern, const std::vector<Value>& arguments) {
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      out += pattern[i];
      continue;
    }
    const size_t end = pattern.find_first_not_of("-+ 0123456789.", i + 1);
    if (end == pattern.npos) throw Problem("incomplete format");
    const std::string specification = pattern.substr(i, end - i);
    const char kind = pattern[end];
    i = end;
    if (kind == '%' && specification == "%") {
      out += '%';
      continue;
    }
    if (std::string_view("sdirfFeg").find(kind) == std::string_view::npos || specification.size() > 6) {
      throw Problem(fmt::format("unsupported format {}{}", specification, kind));
    }
    if (next >= arguments.size()) throw Problem("not enough arguments for format string");
    out += convert(specification, kind, arguments[next++]);
    if (out.size() > kMaxTextBytes) throw Problem("text above 64 MiB");
  }
  if (next < arguments.size()) throw Problem("not all arguments converted during string formatting");
  return out;
}

}  // namespace evalmpi::text::jinja

#include "python_float.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "evalmpi/text/unicode.h"

namespace evalmpi::task::native {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Digits with single underscores between them, appended to `out`; how many digits.
size_t take_digits(std::string_view& rest, std::string& out) {
  size_t count = 0;
  while (!rest.empty()) {
    if (is_digit(rest.front())) {
      out += rest.front();
      ++count;
    } else if (!(rest.front() == '_' && count > 0 && rest.size() > 1 && is_digit(rest[1]))) {
      break;
    }
    rest.remove_prefix(1);
  }
  return count;
}

// Decimal digits of other scripts as ASCII. Unicode has them in runs from 0 to 9.
std::string with_ascii_digits(const std::string& text) {
  if (std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) > 127; })) return text;
  static const text::Regex kDigit = text::Regex::compile(R"(\d)", "digits");
  const auto is_decimal = [](char32_t code_point) {
    std::string one;
    text::append_utf8(&one, code_point);
    return kDigit.full_match(one).has_value();
  };
  std::string plain;
  for (size_t at = 0; at < text.size();) {
    const char32_t code_point = text::next_code_point(text, &at);
    if (code_point > 127 && is_decimal(code_point)) {
      char32_t first = code_point;
      while (is_decimal(first - 1)) --first;
      plain += static_cast<char>('0' + (code_point - first) % 10);
    } else {
      text::append_utf8(&plain, code_point);
    }
  }
  return plain;
}

}  // namespace

std::optional<double> parse_python_float(std::string_view text) {
  const std::string stripped = with_ascii_digits(text::python::strip(text));
  std::string_view rest = stripped;
  std::string plain;
  if (!rest.empty() && (rest.front() == '+' || rest.front() == '-')) {
    plain += rest.front();
    rest.remove_prefix(1);
  }
  std::string word;
  for (const char c : rest) word += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const double sign = plain == "-" ? -1 : 1;
  if (word == "inf" || word == "infinity") return sign * std::numeric_limits<double>::infinity();
  if (word == "nan") return std::numeric_limits<double>::quiet_NaN();
  size_t n_digits = take_digits(rest, plain);
  if (!rest.empty() && rest.front() == '.') {
    plain += '.';
    rest.remove_prefix(1);
    n_digits += take_digits(rest, plain);
  }
  if (n_digits == 0) return {};
  if (!rest.empty() && (rest.front() == 'e' || rest.front() == 'E')) {
    plain += 'e';
    rest.remove_prefix(1);
    if (!rest.empty() && (rest.front() == '+' || rest.front() == '-')) {
      plain += rest.front();
      rest.remove_prefix(1);
    }
    if (take_digits(rest, plain) == 0) return {};
  }
  if (!rest.empty()) return {};
  return std::strtod(plain.c_str(), nullptr);
}

std::optional<std::string> parse_python_integer(std::string_view text) {
  constexpr size_t kMaxDigits = 4300;
  const std::string stripped = with_ascii_digits(text::python::strip(text));
  std::string_view rest = stripped;
  const bool is_negative = rest.starts_with('-');
  if (is_negative || rest.starts_with('+')) rest.remove_prefix(1);
  std::string digits;
  const size_t count = take_digits(rest, digits);
  if (count == 0 || count > kMaxDigits || !rest.empty()) return {};
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  return is_negative && digits != "0" ? "-" + digits : digits;
}

double numpy_round(double number, int decimals) {
  const double scale = std::pow(10.0, decimals);
  return std::nearbyint(number * scale) / scale;
}

}  // namespace evalmpi::task::native

#include "python_float.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include "evalmpi/text/python.h"

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

}  // namespace

std::optional<double> parse_python_float(std::string_view text) {
  const std::string stripped = text::python::strip(text);
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

double numpy_round(double number, int decimals) {
  const double scale = std::pow(10.0, decimals);
  return std::nearbyint(number * scale) / scale;
}

}  // namespace evalmpi::task::native

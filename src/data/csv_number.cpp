#include "csv_number.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

namespace evalmpi::data {
namespace {

constexpr int kMaxDigits = 17;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view trimmed(std::string_view field) {
  const size_t start = field.find_first_not_of(" \t");
  if (start == field.npos) return {};
  return field.substr(start, field.find_last_not_of(" \t") - start + 1);
}

// 10^exponent, correctly rounded, for 0 to 308.
double power_of_ten(int exponent) {
  const std::string text = "1e" + std::to_string(exponent);
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::optional<double> word(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const double sign = lower.starts_with('-') ? -1 : 1;
  if (lower.starts_with('-') || lower.starts_with('+')) lower.erase(0, 1);
  if (lower == "inf" || lower == "infinity") return sign * std::numeric_limits<double>::infinity();
  return {};
}

}  // namespace

std::optional<int64_t> csv_integer(const std::string& field) {
  std::string_view text = trimmed(field);
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return {};
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::optional<double> csv_float(const std::string& field) {
  const std::string_view text = trimmed(field);
  if (const auto special = word(text)) return special;
  size_t at = 0;
  const bool negative = text.starts_with('-');
  if (text.starts_with('-') || text.starts_with('+')) ++at;
  double number = 0;
  int digits = 0, exponent = 0;
  const auto here = [&] { return at < text.size() ? text[at] : '\0'; };
  for (; is_digit(here()); ++at) {
    if (digits < kMaxDigits) {
      number = number * 10 + (here() - '0');
      ++digits;
    } else {
      ++exponent;
    }
  }
  if (here() == '.') {
    for (++at; is_digit(here()); ++at) {
      if (digits >= kMaxDigits) continue;
      number = number * 10 + (here() - '0');
      ++digits;
      --exponent;
    }
  }
  if (digits == 0) return {};
  if (here() == 'e' || here() == 'E') {
    ++at;
    const bool down = here() == '-';
    if (here() == '-' || here() == '+') ++at;
    if (!is_digit(here())) return {};
    int written = 0;
    for (; is_digit(here()); ++at) written = std::min(written * 10 + (here() - '0'), 100'000);
    exponent += down ? -written : written;
  }
  if (at != text.size()) return {};
  if (negative) number = -number;
  if (exponent > 308) return number == 0 ? number : std::copysign(std::numeric_limits<double>::infinity(), number);
  if (exponent > 0) return number * power_of_ten(exponent);
  if (exponent < -616) return std::copysign(0.0, number);
  if (exponent < -308) return number / power_of_ten(-308 - exponent) / power_of_ten(308);
  return number / power_of_ten(-exponent);
}

}  // namespace evalmpi::data

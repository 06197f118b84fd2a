#include "csv_number.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <string_view>

namespace evalmpi::data {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view trimmed(std::string_view field) {
  const size_t start = field.find_first_not_of(" \t");
  if (start == field.npos) return {};
  return field.substr(start, field.find_last_not_of(" \t") - start + 1);
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

template <typename Integer>
std::optional<Integer> whole_number(const std::string& field) {
  std::string_view text = trimmed(field);
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return {};
  }
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

}  // namespace

std::optional<int64_t> csv_integer(const std::string& field) { return whole_number<int64_t>(field); }

std::optional<uint64_t> csv_unsigned(const std::string& field) { return whole_number<uint64_t>(field); }

std::optional<double> csv_float(const std::string& field) {
  std::string_view text = trimmed(field);
  if (const auto special = word(text)) return special;
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || !(is_digit(text[0]) || text[0] == '.')) return {};
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || error == std::errc::invalid_argument) return {};
  if (error == std::errc::result_out_of_range) value = std::strtod(std::string(text).c_str(), nullptr);
  return negative ? -value : value;
}

}  // namespace evalmpi::data

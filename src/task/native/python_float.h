#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace evalmpi::task::native {

// float(text) of Python: surrounding space, a sign, digits with single underscores between them, a point, an exponent,
// inf, infinity and nan in any case; digits of any script. Nothing where Python raises.
std::optional<double> parse_python_float(std::string_view text);

// int(text) of Python, as a text without plus sign, underscores and zeros in front; it may be long. Nothing where
// Python raises, as it does beyond 4,300 digits.
std::optional<std::string> parse_python_integer(std::string_view text);

// numpy.round(number, decimals): to the nearest integer of number * 10^decimals, halves to even.
double numpy_round(double number, int decimals);

}  // namespace evalmpi::task::native

#pragma once

#include <optional>
#include <string_view>

namespace evalmpi::task::native {

// float(text) of Python: surrounding space, a sign, digits with single underscores between them, a point, an exponent,
// inf, infinity and nan in any case. Nothing where Python raises. Digits of other scripts are not read.
std::optional<double> parse_python_float(std::string_view text);

// numpy.round(number, decimals): to the nearest integer of number * 10^decimals, halves to even.
double numpy_round(double number, int decimals);

}  // namespace evalmpi::task::native

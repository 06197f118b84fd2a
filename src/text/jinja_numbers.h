#pragma once

// Numbers written as text, as Python's int() and float() read them.

#include <cstdint>
#include <optional>
#include <string_view>

namespace evalmpi::text::jinja {

// int(text); nothing when it is no integer. Throws Problem when it is outside int64.
std::optional<int64_t> parse_integer(std::string_view text);

// float(text); nothing when it is no number.
std::optional<double> parse_float(std::string_view text);

}  // namespace evalmpi::text::jinja

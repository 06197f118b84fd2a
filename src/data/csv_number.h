#pragma once

// Numbers in CSV fields, read as pandas' C parser reads them.

#include <cstdint>
#include <optional>
#include <string>

namespace evalmpi::data {

// A decimal integer in int64 with optional sign, spaces around it allowed.
std::optional<int64_t> csv_integer(const std::string& field);

// A decimal number, inf or nan. The value is pandas' (precise_xstrtod: at most 17 digits, one scaling by a power of
// ten), which may differ from the nearest double in the last place.
std::optional<double> csv_float(const std::string& field);

}  // namespace evalmpi::data

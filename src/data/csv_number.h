#pragma once

// Numbers in CSV fields, read as pandas' C parser reads them.

#include <cstdint>
#include <optional>
#include <string>

namespace evalmpi::data {

// A decimal integer in int64 with optional sign, spaces around it allowed.
std::optional<int64_t> csv_integer(const std::string& field);

// A decimal integer in uint64, as csv_integer.
std::optional<uint64_t> csv_unsigned(const std::string& field);

// A decimal number or inf, correctly rounded; above the range of doubles infinite.
std::optional<double> csv_float(const std::string& field);

}  // namespace evalmpi::data

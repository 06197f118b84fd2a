#pragma once

// Quoted YAML scalars, read from the source: yaml-cpp 0.7 drops a newline before the closing quote and writes \_ and
// \N as bytes that are no UTF-8.

#include <optional>
#include <string>
#include <string_view>

namespace evalmpi::task {

// The text of the scalar whose opening quote is at `position` of a valid YAML source. Nothing when no quote is there.
std::optional<std::string> read_quoted_scalar(std::string_view source, size_t position);

}  // namespace evalmpi::task

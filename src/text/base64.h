#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace evalmpi::text {

// The bytes of a Base64 text with its padding; nullopt for anything else.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace evalmpi::text

#pragma once

// One step through UTF-8 text that may be damaged.

#include <utf8proc.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace evalmpi::text {

struct CodePoint {
  int32_t value;  // -1 for a byte that is not part of valid UTF-8
  size_t bytes;   // at least 1
};

// The code point at `position`, which must be below text.size().
inline CodePoint code_point_at(std::string_view text, size_t position) {
  const auto lead = static_cast<unsigned char>(text[position]);
  if (lead < 0x80) return {lead, 1};
  int32_t value = -1;
  const auto bytes = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + position),
                                      static_cast<utf8proc_ssize_t>(text.size() - position), &value);
  if (bytes <= 0) return {-1, 1};
  return {value, static_cast<size_t>(bytes)};
}

inline void append_code_point(std::string& text, int32_t value) {
  utf8proc_uint8_t bytes[4];
  const auto count = utf8proc_encode_char(value, bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
}

}  // namespace evalmpi::text

#include "byte_level.h"

#include <array>

#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

struct Alphabet {
  std::array<std::string, 256> characters;  // UTF-8 of each byte's character
  std::array<int, 0x144> bytes;             // by code point; -1 where none

  Alphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const char32_t character = printable ? byte : next++;
      append_utf8(&characters[byte], character);
      bytes[character] = static_cast<int>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

void append_byte_characters(std::string_view bytes, std::string* characters) {
  const Alphabet& letters = alphabet();
  for (const char byte : bytes) *characters += letters.characters[static_cast<unsigned char>(byte)];
}

std::string bytes_of_token(std::string_view token) {
  const Alphabet& letters = alphabet();
  std::string out;
  for (size_t at = 0; at < token.size();) {
    const char32_t c = next_code_point(token, &at);
    if (c >= letters.bytes.size() || letters.bytes[c] < 0) return std::string(token);
    out.push_back(static_cast<char>(letters.bytes[c]));
  }
  return out;
}

}  // namespace evalmpi::text

#pragma once

#include <string>
#include <string_view>

namespace evalmpi::text {

// "▁", which SentencePiece's vocabularies write for a space.
inline constexpr std::string_view kSpaceMark = "\u2581";

// GPT-2's alphabet: each byte as one printable character, so that a vocabulary of strings can hold any bytes.
// Appends the characters of `bytes`.
void append_byte_characters(std::string_view bytes, std::string* characters);

// The bytes of a token in that alphabet; a token with any other character stands for its own UTF-8.
std::string bytes_of_token(std::string_view token);

}  // namespace evalmpi::text

#pragma once

// UTF-8, code points and normal forms.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace evalmpi::text {

// The length of the longest prefix that is valid UTF-8 (no surrogates, no overlong forms, at most U+10FFFF).
size_t valid_utf8_prefix(std::string_view text);
inline bool is_valid_utf8(std::string_view text) { return valid_utf8_prefix(text) == text.size(); }

// The text with every maximal invalid part replaced by U+FFFD, as bytes.decode("utf-8", errors="replace") does (and
// Rust's String::from_utf8_lossy).
std::string replace_invalid_utf8(std::string_view text);

// How many bytes at the end of `text` could become a valid character if more bytes followed: 0 to 3.
size_t incomplete_utf8_tail(std::string_view text);

// The code point that starts at text[*position], which moves behind it. The text must be valid UTF-8.
char32_t next_code_point(std::string_view text, size_t* position);

// Appends a code point (not a surrogate, at most U+10FFFF) as UTF-8.
void append_utf8(std::string* text, char32_t code_point);

// Code points of a valid text: Python's len().
size_t code_point_count(std::string_view text);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
// The normal form of a valid text. Text that is all ASCII is returned as it is.
std::string normalize(std::string_view text, NormalForm form);

// str.isspace() of one character: White_Space and the separators U+001C to U+001F.
bool is_python_space(char32_t code_point);
// Unicode's White_Space property: what \s means to Oniguruma and Rust.
bool is_white_space(char32_t code_point);
bool is_letter(char32_t code_point);       // \p{L}
bool is_number(char32_t code_point);       // \p{N}
bool is_punctuation(char32_t code_point);  // \p{P}
bool is_mark(char32_t code_point);         // \p{M}
// \w of Rust's regular expressions: letters and what counts as one, marks, decimal digits, connector punctuation,
// joiners.
bool is_word(char32_t code_point);

// Single code point mappings; a character without one is returned as it is.
char32_t to_lower(char32_t code_point);
char32_t to_upper(char32_t code_point);
char32_t to_title(char32_t code_point);

}  // namespace evalmpi::text

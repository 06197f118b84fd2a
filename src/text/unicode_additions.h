#pragma once

// Code points that Unicode 15 to 16 assigned to a category. PCRE2 10.42 and utf8proc 2.8 know version 14, the reference
// tokenizers' tables are newer; with a newer library these additions change nothing.

#include <string_view>

namespace evalmpi::text {

// The ranges that belong to a general category ("L", "Nd") or script ("Han") besides those of version 14, written for
// the inside of a bracket expression. Empty when there are none.
std::string_view added_ranges(std::string_view category);

bool is_added_letter(char32_t code_point);
bool is_added_number(char32_t code_point);
bool is_added_digit(char32_t code_point);  // Nd
bool is_added_punctuation(char32_t code_point);
bool is_added_mark(char32_t code_point);

// Characters that the reference's normalizers leave as they are although Unicode 14 decomposes, reorders or composes
// them.
bool is_unnormalized(char32_t code_point);

}  // namespace evalmpi::text

#pragma once

// Characters that components of the reference tokenizers treat apart. Their tables stem from several versions of
// Unicode, so each is stored as the reference has it.

namespace evalmpi::text {

bool is_cleaned_away(char32_t code_point);      // what BertNormalizer's clean_text removes
bool is_combining_mark(char32_t code_point);    // what StripAccents removes
bool is_nonspacing_mark(char32_t code_point);   // what BertNormalizer's strip_accents removes from decomposed text
bool is_punctuation_mark(char32_t code_point);  // where Punctuation and BertPreTokenizer cut
bool is_numeric(char32_t code_point);           // where Digits cuts
// The lower case of letters that our libraries are too old to know; all others are returned as they are.
char32_t added_lower(char32_t code_point);

}  // namespace evalmpi::text

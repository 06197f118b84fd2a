#pragma once

// The cleaning of texts that several tasks share.

#include <string>
#include <string_view>

#include "evalmpi/base/json.h"

namespace evalmpi::task::native {

// Marks of WikiHow's pages: " [title]" ends a sentence, all else in brackets goes; then each pair of spaces is one.
std::string clean_brackets(std::string_view text);

// The same for a text, and " " for null. FAILS: kBadInput for other values.
std::string clean_brackets_or_space(const Json& value);

// As clean_brackets_or_space, with what stands in brackets kept.
std::string clean_titles_or_space(const Json& value);

// lm_eval.utils.general_detokenize: no space before n't, ) ' . , nor after ( nor beside quotes.
std::string general_detokenize(std::string_view text);

// SQuAD's normal form of an answer: lower case, without ASCII punctuation and articles, single spaces.
std::string normalise_answer(std::string_view text);

}  // namespace evalmpi::task::native

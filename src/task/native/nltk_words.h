#pragma once

#include <cstdint>
#include <string>

namespace evalmpi::task::native {

// How many words of NLTK's word_tokenize are upper case (str.isupper). Its sentence tokenizer, whose trained data
// evalmpi does not have, comes before; where sentences end decides only where a period has a quote or a colon and a
// digit right behind it.
struct CapitalWords {
  int64_t at_least = 0;
  int64_t at_most = 0;
};
CapitalWords count_capital_words(const std::string& text);

}  // namespace evalmpi::task::native

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/text/regex.h"

namespace evalmpi::text {

// A pattern in PCRE2's words, and for each of its bytes the byte of the original that it stands for.
struct RewrittenPattern {
  std::string text;
  std::vector<size_t> origin;
};

// Rewrites what PCRE2 reads differently from `dialect` (RegexDialect lists it).
// FAILS: kBadInput, naming `where` and the byte, on what that dialect does not know or this one cannot express.
RewrittenPattern rewrite_pattern(std::string_view pattern, std::string_view where, RegexDialect dialect);

}  // namespace evalmpi::text

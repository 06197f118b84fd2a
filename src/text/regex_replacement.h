#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/text/regex.h"

namespace evalmpi::text {

// One piece of a replacement: literal text, or a group when `group` is not kNoPosition.
struct ReplacementPart {
  std::string text;
  size_t group = kNoPosition;
};

// Reads Python's template for re.sub. FAILS: kBadInput as Regex::replace_all.
std::vector<ReplacementPart> read_replacement(const Regex& regex, std::string_view replacement);

}  // namespace evalmpi::text

#pragma once

// What the filters regex_pos and format_span read from responses: words with their tags.

#include <string>

#include "evalmpi/base/json.h"

namespace evalmpi::task {

// The tags of a Python list of ('word', 'TAG') pairs, wherever such pairs stand in the text; empty when there are none.
Json part_of_speech_tags(const std::string& text);

// "person: Ann, Bob $$ place: none" becomes "per: ann $ per: bob": labels by their short names, one entity each, in
// lower case, those that are "none" left out.
std::string format_spans(const std::string& text);

}  // namespace evalmpi::task

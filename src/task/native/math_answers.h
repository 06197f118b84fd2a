#pragma once

// Answers in LaTeX, compared after a normal form: the rules of hendrycks/math.

#include <optional>
#include <string>
#include <string_view>

namespace evalmpi::task::native {

// The last \boxed{..} (or \fbox{..}) of a text with its braces balanced; nothing when there is none. A "\boxed " takes
// what follows up to a dollar sign where `spaced` is set.
std::optional<std::string> last_boxed(std::string_view text, bool spaced);

// What stands inside \boxed{..}, or after "\boxed " where `spaced` is set; nothing for another text.
std::optional<std::string> inside_boxed(std::string_view text, bool spaced);

// The normal form of an answer; nothing where the rules do not fit it (Python raises).
std::optional<std::string> normal_form(std::string_view text);

// Equal normal forms; where one of the texts has none, equal texts.
bool is_equivalent(std::string_view a, std::string_view b);

}  // namespace evalmpi::task::native

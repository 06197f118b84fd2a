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

// The answer of a response: what its last box holds, else what stands between dollar signs, after an equals sign, or
// its last number. AGIEval's rules.
std::optional<std::string> math_answer(const std::string& response);

// Whether a/b of other things than integers has a normal form: it has none by the rules of hendrycks/math as they were,
// and is a text as any other by those of AGIEval.
enum class Slashes { kOfIntegers, kAny };

// The normal form of an answer; nothing where the rules do not fit it (Python raises).
std::optional<std::string> normal_form(std::string_view text, Slashes slashes);

// Equal normal forms; where one of the texts has none, equal texts.
bool is_equivalent(std::string_view a, std::string_view b, Slashes slashes);

}  // namespace evalmpi::task::native

#pragma once

#include <string_view>

namespace evalmpi::task::native {

// Whether json.loads of Python reads the text without an error: NaN and infinities are numbers, control characters in
// strings are errors, and so are integers of more than 4,300 digits. Values nested deeper than 900 count as an error,
// where Python runs out of stack.
bool python_reads_json(std::string_view text);

}  // namespace evalmpi::task::native

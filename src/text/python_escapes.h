#pragma once

// Backslash escapes of Python string literals, shared by the literal parser and the template lexer.

#include <string>
#include <string_view>

namespace evalmpi::text::python {

// Decodes \n \t \xhh \uhhhh \Uhhhhhhhh \ooo and the rest; an unknown escape stays as it is, a backslash before a
// newline joins the lines. Returns false on a cut-off or impossible escape, on a lone surrogate and on \N{...}.
bool decode_escapes(std::string_view body, std::string& out);

}  // namespace evalmpi::text::python

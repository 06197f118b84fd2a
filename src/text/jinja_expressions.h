#pragma once

// Jinja2's expressions: tokens to trees.

#include <string_view>

#include "jinja_ast.h"
#include "jinja_tokens.h"

namespace evalmpi::text::jinja {

// One expression, `a if b else c` included. Throws SyntaxProblem, as the other function.
ExpressionPtr parse_expression(TokenCursor& tokens);

// One expression, or several separated by commas as a tuple, up to the end of a tag or the name `end_name`. Without
// `conditional`, `a if b` is left alone.
ExpressionPtr parse_tuple(TokenCursor& tokens, bool conditional, std::string_view end_name = "");

}  // namespace evalmpi::text::jinja

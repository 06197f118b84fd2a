#pragma once

// Tokens to tree, by Jinja2's grammar.

#include <vector>

#include "jinja_ast.h"
#include "jinja_lexer.h"

namespace evalmpi::text::jinja {

// The statements of a whole template. Throws SyntaxProblem.
Body parse_body(std::vector<Token> tokens);

}  // namespace evalmpi::text::jinja

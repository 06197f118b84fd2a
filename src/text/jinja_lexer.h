#pragma once

// Cuts a template's source into text and the tokens of its tags, as Jinja2's lexer does.

#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/text/jinja.h"

namespace evalmpi::text::jinja {

struct Token {
  enum class Kind { kText, kPrintBegin, kPrintEnd, kBlockBegin, kBlockEnd, kName, kString, kNumber, kSign, kEnd };
  Kind kind = Kind::kEnd;
  std::string text;  // of kString: the decoded text; of kNumber: the literal without underscores
  int line = 1;
};

// A syntax error with its line.
struct SyntaxProblem {
  int line;
  std::string message;
};

// All tokens, the last one kEnd. Comments are dropped, raw blocks are text. Throws SyntaxProblem.
std::vector<Token> tokenize(std::string_view source, const TemplateOptions& options);

}  // namespace evalmpi::text::jinja

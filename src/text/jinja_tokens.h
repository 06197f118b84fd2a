#pragma once

// A template's tokens, read from front to back by the parsers of its expressions and statements.

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja_lexer.h"

namespace evalmpi::text::jinja {

class TokenCursor {
 public:
  explicit TokenCursor(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // Counts nesting while it lives.
  class Nested {
   public:
    explicit Nested(TokenCursor& tokens) : tokens_(tokens) {
      if (++tokens_.nesting_ > kMaxNesting) {
        tokens_.fail_here(fmt::format("nested deeper than {}", kMaxNesting));
      }
    }
    ~Nested() { --tokens_.nesting_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    TokenCursor& tokens_;
  };

  [[noreturn]] void fail_here(std::string message) const { throw SyntaxProblem{current().line, std::move(message)}; }

  const Token& current() const { return tokens_[position_]; }
  const Token& next() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  Token take() {
    const size_t at = position_;
    if (position_ + 1 < tokens_.size()) ++position_;
    return tokens_[at];
  }

  bool at_sign(std::string_view sign) const { return current().kind == Token::Kind::kSign && current().text == sign; }
  bool at_name(std::string_view name) const { return current().kind == Token::Kind::kName && current().text == name; }
  bool skip_sign(std::string_view sign) { return at_sign(sign) && (take(), true); }
  bool skip_name(std::string_view name) { return at_name(name) && (take(), true); }

  std::string describe() const {
    switch (current().kind) {
      case Token::Kind::kPrintEnd: return "end of print statement";
      case Token::Kind::kBlockEnd: return "end of statement block";
      case Token::Kind::kEnd: return "end of template";
      default: return fmt::format("'{}'", current().text);
    }
  }

  void expect_sign(std::string_view sign) {
    if (!skip_sign(sign)) fail_here(fmt::format("expected '{}', got {}", sign, describe()));
  }
  void expect_kind(Token::Kind kind, std::string_view what) {
    if (current().kind != kind) fail_here(fmt::format("expected {}, got {}", what, describe()));
    take();
  }
  std::string expect_name() {
    if (current().kind != Token::Kind::kName) fail_here(fmt::format("expected a name, got {}", describe()));
    return take().text;
  }

 private:
  static constexpr int kMaxNesting = 100;

  std::vector<Token> tokens_;
  size_t position_ = 0;
  int nesting_ = 0;
};

}  // namespace evalmpi::text::jinja

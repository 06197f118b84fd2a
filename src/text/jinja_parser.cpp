#include "jinja_parser.h"

#include <algorithm>

#include "jinja_expressions.h"
#include "jinja_tokens.h"

namespace evalmpi::text::jinja {
namespace {

class StatementParser {
 public:
  explicit StatementParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Body parse() {
    Body body = parse_statements({});
    if (tokens_.current().kind != Token::Kind::kEnd) tokens_.fail_here("unexpected end of a block");
    return body;
  }

 private:
  // Statements up to a tag whose name is in `ends` (left in place, its {% passed), or to the end of the template.
  Body parse_statements(const std::vector<std::string_view>& ends) {
    const TokenCursor::Nested nested(tokens_);
    const int first_line = tokens_.current().line;
    Body body;
    for (;;) {
      switch (tokens_.current().kind) {
        case Token::Kind::kText: {
          Statement& text = body.emplace_back();
          text.kind = Statement::Kind::kText;
          text.line = tokens_.current().line;
          text.text = tokens_.take().text;
          break;
        }
        case Token::Kind::kPrintBegin: {
          Statement& print = body.emplace_back();
          print.kind = Statement::Kind::kPrint;
          print.line = tokens_.take().line;
          print.expression = parse_tuple(tokens_, true);
          tokens_.expect_kind(Token::Kind::kPrintEnd, "end of print statement");
          break;
        }
        case Token::Kind::kBlockBegin: {
          tokens_.take();
          if (tokens_.current().kind != Token::Kind::kName) tokens_.fail_here("a tag name was expected");
          if (std::find(ends.begin(), ends.end(), tokens_.current().text) != ends.end()) return body;
          body.push_back(parse_statement());
          break;
        }
        default:
          if (!ends.empty()) {
            throw SyntaxProblem{first_line, fmt::format("the template ends before '{}'", ends.back())};
          }
          return body;
      }
    }
  }

  void end_tag(std::string_view name) {
    if (!tokens_.skip_name(name)) tokens_.fail_here(fmt::format("expected '{}', got {}", name, tokens_.describe()));
    tokens_.expect_kind(Token::Kind::kBlockEnd, "end of statement block");
  }

  Statement parse_statement() {
    const int line = tokens_.current().line;
    const std::string name = tokens_.take().text;
    Statement statement;
    statement.line = line;
    if (name == "if") {
      parse_if(statement);
    } else if (name == "for") {
      parse_for(statement);
    } else if (name == "set") {
      parse_set(statement);
    } else if (name == "macro") {
      parse_macro(statement);
    } else if (name == "generation") {
      statement.kind = Statement::Kind::kBody;
      tokens_.expect_kind(Token::Kind::kBlockEnd, "end of statement block");
      statement.body = parse_statements({"endgeneration"});
      end_tag("endgeneration");
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) throw SyntaxProblem{line, fmt::format("'{}' outside of a loop", name)};
      statement.kind = name == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue;
      tokens_.expect_kind(Token::Kind::kBlockEnd, "end of statement block");
    } else {
      throw SyntaxProblem{line, fmt::format("unknown or unsupported statement '{}'", name)};
    }
    return statement;
  }

  void parse_if(Statement& statement) {
    statement.kind = Statement::Kind::kIf;
    bool is_last = false;
    do {
      Branch branch;
      if (!is_last) branch.condition = parse_tuple(tokens_, false);
      tokens_.expect_kind(Token::Kind::kBlockEnd, "end of statement block");
      branch.body = is_last ? parse_statements({"endif"}) : parse_statements({"elif", "else", "endif"});
      statement.branches.push_back(std::move(branch));
      if (is_last || tokens_.at_name("endif")) break;
      is_last = tokens_.at_name("else");
      tokens_.take();
    } while (true);
    end_tag("endif");
  }

  void parse_for(Statement& statement) {
    statement.kind = Statement::Kind::kFor;
    statement.target = parse_target(false, "in");
    if (!tokens_.skip_name("in")) tokens_.fail_here(fmt::format("expected 'in', got {}", tokens_.describe()));
    statement.expression = parse_tuple(tokens_, false, "recursive");
    if (tokens_.skip_name("if")) statement.filter = parse_expression(tokens_);
    if (tokens_.at_name("recursive")) tokens_.fail_here("recursive loops are not supported");
    tokens_.expect_kind(Token::Kind::kBlockEnd, "end of statement block");
    ++loops_;
    statement.body = parse_statements({"else", "endfor"});
    --loops_;
    if (tokens_.skip_name("else")) {
      tokens_.expect_kind(Token::Kind::kBlockEnd, "end of statement block");
      statement.else_body = parse_statements({"endfor"});
    }
    end_tag("endfor");
  }

  void parse_set(Statement& statement) {
    statement.target = parse_target(true, "");
    if (tokens_.skip_sign("=")) {
      statement.kind = Statement::Kind::kSet;
      statement.expression = parse_tuple(tokens_, true);
      tokens_.expect_kind(Token::Kind::kBlockEnd, "end of statement block");
      return;
    }
    if (tokens_.at_sign("|")) tokens_.fail_here("filters on a set block are not supported");
    statement.kind = Statement::Kind::kSetBlock;
    tokens_.expect_kind(Token::Kind::kBlockEnd, "end of statement block");
    statement.body = parse_statements({"endset"});
    end_tag("endset");
  }

  void parse_macro(Statement& statement) {
    statement.kind = Statement::Kind::kMacro;
    statement.text = tokens_.expect_name();
    tokens_.expect_sign("(");
    while (!tokens_.at_sign(")")) {
      if (!statement.parameters.empty()) tokens_.expect_sign(",");
      Parameter parameter{tokens_.expect_name(), nullptr};
      if (tokens_.skip_sign("=")) {
        parameter.default_value = parse_expression(tokens_);
      } else if (!statement.parameters.empty() && statement.parameters.back().default_value) {
        tokens_.fail_here("a parameter without default follows one with default");
      }
      statement.parameters.push_back(std::move(parameter));
    }
    tokens_.expect_sign(")");
    tokens_.expect_kind(Token::Kind::kBlockEnd, "end of statement block");
    const int outer_loops = std::exchange(loops_, 0);
    statement.body = parse_statements({"endmacro"});
    loops_ = outer_loops;
    tokens_.take();
    if (tokens_.current().kind == Token::Kind::kName) tokens_.take();
    tokens_.expect_kind(Token::Kind::kBlockEnd, "end of statement block");
  }

  Target parse_one_target(bool with_attribute) {
    if (tokens_.skip_sign("(")) {
      const TokenCursor::Nested nested(tokens_);
      Target inner = parse_target(with_attribute, "");
      tokens_.expect_sign(")");
      return inner;
    }
    Target target;
    target.name = tokens_.expect_name();
    static constexpr std::string_view kReserved[] = {"true", "false", "none", "True", "False", "None"};
    if (std::find(std::begin(kReserved), std::end(kReserved), target.name) != std::end(kReserved)) {
      tokens_.fail_here(fmt::format("cannot assign to '{}'", target.name));
    }
    if (with_attribute && tokens_.skip_sign(".")) target.attribute = tokens_.expect_name();
    return target;
  }

  Target parse_target(bool with_attribute, std::string_view end_name) {
    Target first = parse_one_target(with_attribute);
    if (!tokens_.at_sign(",")) return first;
    Target tuple;
    tuple.parts.push_back(std::move(first));
    while (tokens_.skip_sign(",")) {
      if (tokens_.at_sign("=") || tokens_.at_sign(")") || (!end_name.empty() && tokens_.at_name(end_name))) break;
      tuple.parts.push_back(parse_one_target(with_attribute));
    }
    return tuple;
  }

  TokenCursor tokens_;
  int loops_ = 0;
};

}  // namespace

Body parse_body(std::vector<Token> tokens) { return StatementParser(std::move(tokens)).parse(); }

}  // namespace evalmpi::text::jinja

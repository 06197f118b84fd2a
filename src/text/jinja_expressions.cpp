#include "jinja_expressions.h"

#include <algorithm>

#include "evalmpi/text/python.h"
#include "jinja_filters.h"

namespace evalmpi::text::jinja {
namespace {

using Kind = Expression::Kind;

constexpr int kMaxOperators = 500;

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenCursor& tokens) : tokens_(tokens) {}

  // One expression, or several separated by commas as a tuple. Without `conditional`, `a if b` is left alone.
  ExpressionPtr parse_tuple(bool conditional, std::string_view end_name = "", bool in_brackets = false) {
    const int line = tokens_.current().line;
    std::vector<ExpressionPtr> items;
    bool is_tuple = false;
    for (;;) {
      if (!items.empty()) tokens_.expect_sign(",");
      if (at_tuple_end(end_name)) break;
      items.push_back(conditional ? parse_expression() : parse_or());
      if (!tokens_.at_sign(",")) break;
      is_tuple = true;
    }
    if (!is_tuple && !items.empty()) return std::move(items[0]);
    if (!is_tuple && !in_brackets) tokens_.fail_here(fmt::format("expected an expression, got {}", tokens_.describe()));
    return make(Kind::kTuple, line, std::move(items));
  }

  ExpressionPtr parse_expression() {
    const TokenCursor::Nested nested(tokens_);
    const int line = tokens_.current().line;
    ExpressionPtr value = parse_or();
    while (tokens_.skip_name("if")) {
      ExpressionPtr condition = parse_or();
      ExpressionPtr otherwise = tokens_.skip_name("else") ? parse_expression() : nullptr;
      value = make_of(Kind::kConditional, line, "", std::move(value), std::move(condition), std::move(otherwise));
    }
    return value;
  }

 private:
  ExpressionPtr make(Kind kind, int line, std::vector<ExpressionPtr> parts = {}, std::string text = "") const {
    auto expression = std::make_unique<Expression>();
    expression->kind = kind;
    expression->line = line;
    expression->text = std::move(text);
    for (const ExpressionPtr& part : parts) {
      if (part) expression->depth = std::max(expression->depth, part->depth + 1);
    }
    expression->parts = std::move(parts);
    if (expression->depth > kMaxOperators) {
      throw SyntaxProblem{line, fmt::format("more than {} operators in a chain", kMaxOperators)};
    }
    return expression;
  }

  template <typename... Parts>
  ExpressionPtr make_of(Kind kind, int line, std::string text, Parts... parts) const {
    std::vector<ExpressionPtr> list;
    (list.push_back(std::move(parts)), ...);
    return make(kind, line, std::move(list), std::move(text));
  }

  ExpressionPtr make_constant(int line, Value value) const {
    ExpressionPtr constant = make(Kind::kConstant, line);
    constant->constant = std::move(value);
    return constant;
  }

  bool at_tuple_end(std::string_view end_name) const {
    return tokens_.current().kind == Token::Kind::kPrintEnd || tokens_.current().kind == Token::Kind::kBlockEnd ||
           tokens_.at_sign(")") || (!end_name.empty() && tokens_.at_name(end_name));
  }

  ExpressionPtr parse_or() {
    const int line = tokens_.current().line;
    ExpressionPtr left = parse_and();
    while (tokens_.skip_name("or")) left = make_of(Kind::kOr, line, "", std::move(left), parse_and());
    return left;
  }

  ExpressionPtr parse_and() {
    const int line = tokens_.current().line;
    ExpressionPtr left = parse_not();
    while (tokens_.skip_name("and")) left = make_of(Kind::kAnd, line, "", std::move(left), parse_not());
    return left;
  }

  ExpressionPtr parse_not() {
    if (tokens_.at_name("not")) {
      const TokenCursor::Nested nested(tokens_);
      const int line = tokens_.take().line;
      return make_of(Kind::kNot, line, "", parse_not());
    }
    return parse_compare();
  }

  ExpressionPtr parse_compare() {
    static constexpr std::string_view kSigns[] = {"==", "!=", "<", "<=", ">", ">="};
    const int line = tokens_.current().line;
    std::vector<ExpressionPtr> parts;
    std::vector<std::string> signs;
    parts.push_back(parse_sum());
    for (;;) {
      if (tokens_.current().kind == Token::Kind::kSign &&
          std::find(std::begin(kSigns), std::end(kSigns), tokens_.current().text) != std::end(kSigns)) {
        signs.push_back(tokens_.take().text);
      } else if (tokens_.skip_name("in")) {
        signs.push_back("in");
      } else if (tokens_.at_name("not") && tokens_.next().kind == Token::Kind::kName && tokens_.next().text == "in") {
        tokens_.take();
        tokens_.take();
        signs.push_back("not in");
      } else {
        break;
      }
      parts.push_back(parse_sum());
    }
    if (signs.empty()) return std::move(parts[0]);
    ExpressionPtr compare = make(Kind::kCompare, line, std::move(parts));
    compare->signs = std::move(signs);
    return compare;
  }

  ExpressionPtr parse_chain(std::initializer_list<std::string_view> signs,
                            ExpressionPtr (ExpressionParser::*operand)()) {
    ExpressionPtr left = (this->*operand)();
    while (tokens_.current().kind == Token::Kind::kSign &&
           std::find(signs.begin(), signs.end(), tokens_.current().text) != signs.end()) {
      const Token sign = tokens_.take();
      left = make_of(Kind::kBinary, sign.line, sign.text, std::move(left), (this->*operand)());
    }
    return left;
  }

  ExpressionPtr parse_sum() { return parse_chain({"+", "-"}, &ExpressionParser::parse_concat); }

  ExpressionPtr parse_concat() {
    const int line = tokens_.current().line;
    std::vector<ExpressionPtr> parts;
    parts.push_back(parse_product());
    while (tokens_.skip_sign("~")) parts.push_back(parse_product());
    return parts.size() == 1 ? std::move(parts[0]) : make(Kind::kConcat, line, std::move(parts));
  }

  ExpressionPtr parse_product() { return parse_chain({"*", "/", "//", "%"}, &ExpressionParser::parse_power); }
  ExpressionPtr parse_power() { return parse_chain({"**"}, &ExpressionParser::parse_unary_and_filters); }
  ExpressionPtr parse_unary_and_filters() { return parse_filters(parse_unary()); }

  ExpressionPtr parse_unary() {
    const int line = tokens_.current().line;
    if (tokens_.at_sign("-") || tokens_.at_sign("+")) {
      const TokenCursor::Nested nested(tokens_);
      const Kind kind = tokens_.take().text == "-" ? Kind::kNegative : Kind::kPositive;
      return parse_postfix(make_of(kind, line, "", parse_unary()));
    }
    return parse_postfix(parse_primary());
  }

  ExpressionPtr parse_primary() {
    const TokenCursor::Nested nested(tokens_);
    const int line = tokens_.current().line;
    if (tokens_.current().kind == Token::Kind::kName) {
      const std::string name = tokens_.take().text;
      if (name == "true" || name == "True") return make_constant(line, Value(true));
      if (name == "false" || name == "False") return make_constant(line, Value(false));
      if (name == "none" || name == "None") return make_constant(line, Value());
      return make(Kind::kName, line, {}, name);
    }
    if (tokens_.current().kind == Token::Kind::kString) {
      std::string text;
      while (tokens_.current().kind == Token::Kind::kString) text += tokens_.take().text;
      return make_constant(line, Value::text(std::move(text)));
    }
    if (tokens_.current().kind == Token::Kind::kNumber) {
      const std::optional<Json> number = python::parse_literal(tokens_.current().text);
      if (!number || number->is_number_unsigned())
        tokens_.fail_here(fmt::format("unusable number {}", tokens_.describe()));
      tokens_.take();
      return make_constant(line, Value::from_json(*number));
    }
    if (tokens_.skip_sign("(")) {
      ExpressionPtr inner = parse_tuple(true, "", true);
      tokens_.expect_sign(")");
      return inner;
    }
    if (tokens_.skip_sign("[")) return make(Kind::kList, line, parse_items("]"));
    if (tokens_.skip_sign("{")) return make(Kind::kDict, line, parse_pairs());
    tokens_.fail_here(fmt::format("unexpected {}", tokens_.describe()));
  }

  std::vector<ExpressionPtr> parse_items(std::string_view close) {
    std::vector<ExpressionPtr> items;
    while (!tokens_.at_sign(close)) {
      if (!items.empty()) tokens_.expect_sign(",");
      if (tokens_.at_sign(close)) break;
      items.push_back(parse_expression());
    }
    tokens_.expect_sign(close);
    return items;
  }

  std::vector<ExpressionPtr> parse_pairs() {
    std::vector<ExpressionPtr> items;
    while (!tokens_.at_sign("}")) {
      if (!items.empty()) tokens_.expect_sign(",");
      if (tokens_.at_sign("}")) break;
      items.push_back(parse_expression());
      tokens_.expect_sign(":");
      items.push_back(parse_expression());
    }
    tokens_.expect_sign("}");
    return items;
  }

  ExpressionPtr parse_postfix(ExpressionPtr value) {
    for (;;) {
      if (tokens_.at_sign(".")) {
        value = parse_attribute(std::move(value));
      } else if (tokens_.at_sign("[")) {
        value = parse_subscript(std::move(value));
      } else if (tokens_.at_sign("(")) {
        value = parse_call(std::move(value));
      } else {
        return value;
      }
    }
  }

  ExpressionPtr parse_filters(ExpressionPtr value) {
    for (;;) {
      if (tokens_.at_sign("|")) {
        value = parse_filter(std::move(value));
      } else if (tokens_.at_name("is")) {
        value = parse_test(std::move(value));
      } else if (tokens_.at_sign("(")) {
        value = parse_call(std::move(value));
      } else {
        return value;
      }
    }
  }

  ExpressionPtr parse_attribute(ExpressionPtr value) {
    const int line = tokens_.take().line;
    if (tokens_.current().kind == Token::Kind::kNumber) {
      ExpressionPtr index = parse_primary();
      return make_of(Kind::kSubscript, line, "", std::move(value), std::move(index));
    }
    return make_of(Kind::kAttribute, line, tokens_.expect_name(), std::move(value));
  }

  ExpressionPtr parse_subscript(ExpressionPtr value) {
    const int line = tokens_.take().line;
    ExpressionPtr start = tokens_.at_sign(":") ? nullptr : parse_expression();
    if (tokens_.at_sign(",")) tokens_.fail_here("a subscript with several indices is not supported");
    if (tokens_.skip_sign("]")) return make_of(Kind::kSubscript, line, "", std::move(value), std::move(start));
    tokens_.expect_sign(":");
    ExpressionPtr stop = tokens_.at_sign(":") || tokens_.at_sign("]") ? nullptr : parse_expression();
    ExpressionPtr step;
    if (tokens_.skip_sign(":") && !tokens_.at_sign("]")) step = parse_expression();
    tokens_.expect_sign("]");
    return make_of(Kind::kSlice, line, "", std::move(value), std::move(start), std::move(stop), std::move(step));
  }

  // (a, b, key=c) after parts[0]; adds to `out`.
  void parse_arguments(std::vector<ExpressionPtr>& parts,
                       std::vector<std::pair<std::string, ExpressionPtr>>& keywords) {
    tokens_.expect_sign("(");
    bool first = true;
    while (!tokens_.at_sign(")")) {
      if (!std::exchange(first, false)) tokens_.expect_sign(",");
      if (tokens_.at_sign(")")) break;
      if (tokens_.at_sign("*") || tokens_.at_sign("**"))
        tokens_.fail_here("argument unpacking with * is not supported");
      if (tokens_.current().kind == Token::Kind::kName && tokens_.next().kind == Token::Kind::kSign &&
          tokens_.next().text == "=") {
        std::string name = tokens_.take().text;
        tokens_.take();
        keywords.emplace_back(std::move(name), parse_expression());
      } else {
        if (!keywords.empty()) tokens_.fail_here("a positional argument follows a keyword argument");
        parts.push_back(parse_expression());
      }
    }
    tokens_.expect_sign(")");
  }

  ExpressionPtr parse_applied(Kind kind, int line, std::string text, ExpressionPtr value, bool has_arguments) {
    std::vector<ExpressionPtr> parts;
    std::vector<std::pair<std::string, ExpressionPtr>> keywords;
    parts.push_back(std::move(value));
    if (has_arguments) parse_arguments(parts, keywords);
    ExpressionPtr out = make(kind, line, std::move(parts), std::move(text));
    for (const auto& [name, keyword] : keywords) out->depth = std::max(out->depth, keyword->depth + 1);
    out->keywords = std::move(keywords);
    return out;
  }

  ExpressionPtr parse_call(ExpressionPtr value) {
    return parse_applied(Kind::kCall, tokens_.current().line, "", std::move(value), true);
  }

  ExpressionPtr parse_filter(ExpressionPtr value) {
    tokens_.take();
    const int line = tokens_.current().line;
    std::string name = tokens_.expect_name();
    if (!is_filter(name)) throw SyntaxProblem{line, fmt::format("unknown or unsupported filter '{}'", name)};
    return parse_applied(Kind::kFilter, line, std::move(name), std::move(value), tokens_.at_sign("("));
  }

  ExpressionPtr parse_test(ExpressionPtr value) {
    const int line = tokens_.take().line;
    const bool negated = tokens_.skip_name("not");
    std::string name = tokens_.expect_name();
    if (!is_test(name)) throw SyntaxProblem{line, fmt::format("unknown or unsupported test '{}'", name)};
    ExpressionPtr test;
    const bool starts_value =
        tokens_.current().kind == Token::Kind::kString || tokens_.current().kind == Token::Kind::kNumber ||
        tokens_.current().kind == Token::Kind::kName || tokens_.at_sign("[") || tokens_.at_sign("{");
    if (starts_value && !tokens_.at_name("else") && !tokens_.at_name("or") && !tokens_.at_name("and") &&
        !tokens_.at_name("if")) {
      if (tokens_.at_name("is")) tokens_.fail_here("tests cannot be chained with is");
      ExpressionPtr argument = parse_postfix(parse_primary());
      test = make_of(Kind::kTest, line, std::move(name), std::move(value), std::move(argument));
    } else {
      test = parse_applied(Kind::kTest, line, std::move(name), std::move(value), tokens_.at_sign("("));
    }
    return negated ? make_of(Kind::kNot, line, "", std::move(test)) : std::move(test);
  }

  TokenCursor& tokens_;
};

}  // namespace

ExpressionPtr parse_expression(TokenCursor& tokens) { return ExpressionParser(tokens).parse_expression(); }

ExpressionPtr parse_tuple(TokenCursor& tokens, bool conditional, std::string_view end_name) {
  return ExpressionParser(tokens).parse_tuple(conditional, end_name);
}

}  // namespace evalmpi::text::jinja

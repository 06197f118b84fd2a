#include "jinja_parser.h"

#include <algorithm>

#include "evalmpi/text/python.h"
#include "jinja_filters.h"

namespace evalmpi::text::jinja {
namespace {

using Kind = Expression::Kind;

constexpr int kMaxNesting = 100;
constexpr int kMaxOperators = 500;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Body parse() {
    Body body = parse_statements({});
    if (current().kind != Token::Kind::kEnd) fail_here("unexpected end of a block");
    return body;
  }

 private:
  // Counts nesting while it lives.
  class Nested {
   public:
    explicit Nested(Parser& parser) : parser_(parser) {
      if (++parser_.nesting_ > kMaxNesting) {
        parser_.fail_here(fmt::format("nested deeper than {}", kMaxNesting));
      }
    }
    ~Nested() { --parser_.nesting_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Parser& parser_;
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

  // Statements ------------------------------------------------------------------------------------------------

  // Statements up to a tag whose name is in `ends` (left in place, its {% passed), or to the end of the template.
  Body parse_statements(const std::vector<std::string_view>& ends) {
    const Nested nested(*this);
    const int first_line = current().line;
    Body body;
    for (;;) {
      switch (current().kind) {
        case Token::Kind::kText: {
          Statement& text = body.emplace_back();
          text.kind = Statement::Kind::kText;
          text.line = current().line;
          text.text = take().text;
          break;
        }
        case Token::Kind::kPrintBegin: {
          Statement& print = body.emplace_back();
          print.kind = Statement::Kind::kPrint;
          print.line = take().line;
          print.expression = parse_tuple(true);
          expect_kind(Token::Kind::kPrintEnd, "end of print statement");
          break;
        }
        case Token::Kind::kBlockBegin: {
          take();
          if (current().kind != Token::Kind::kName) fail_here("a tag name was expected");
          if (std::find(ends.begin(), ends.end(), current().text) != ends.end()) return body;
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
    if (!skip_name(name)) fail_here(fmt::format("expected '{}', got {}", name, describe()));
    expect_kind(Token::Kind::kBlockEnd, "end of statement block");
  }

  Statement parse_statement() {
    const int line = current().line;
    const std::string name = take().text;
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
      expect_kind(Token::Kind::kBlockEnd, "end of statement block");
      statement.body = parse_statements({"endgeneration"});
      end_tag("endgeneration");
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) throw SyntaxProblem{line, fmt::format("'{}' outside of a loop", name)};
      statement.kind = name == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue;
      expect_kind(Token::Kind::kBlockEnd, "end of statement block");
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
      if (!is_last) branch.condition = parse_tuple(false);
      expect_kind(Token::Kind::kBlockEnd, "end of statement block");
      branch.body = is_last ? parse_statements({"endif"}) : parse_statements({"elif", "else", "endif"});
      statement.branches.push_back(std::move(branch));
      if (is_last || at_name("endif")) break;
      is_last = at_name("else");
      take();
    } while (true);
    end_tag("endif");
  }

  void parse_for(Statement& statement) {
    statement.kind = Statement::Kind::kFor;
    statement.target = parse_target(false, "in");
    if (!skip_name("in")) fail_here(fmt::format("expected 'in', got {}", describe()));
    statement.expression = parse_tuple(false, "recursive");
    if (skip_name("if")) statement.filter = parse_expression();
    if (at_name("recursive")) fail_here("recursive loops are not supported");
    expect_kind(Token::Kind::kBlockEnd, "end of statement block");
    ++loops_;
    statement.body = parse_statements({"else", "endfor"});
    --loops_;
    if (skip_name("else")) {
      expect_kind(Token::Kind::kBlockEnd, "end of statement block");
      statement.else_body = parse_statements({"endfor"});
    }
    end_tag("endfor");
  }

  void parse_set(Statement& statement) {
    statement.target = parse_target(true, "");
    if (skip_sign("=")) {
      statement.kind = Statement::Kind::kSet;
      statement.expression = parse_tuple(true);
      expect_kind(Token::Kind::kBlockEnd, "end of statement block");
      return;
    }
    if (at_sign("|")) fail_here("filters on a set block are not supported");
    statement.kind = Statement::Kind::kSetBlock;
    expect_kind(Token::Kind::kBlockEnd, "end of statement block");
    statement.body = parse_statements({"endset"});
    end_tag("endset");
  }

  void parse_macro(Statement& statement) {
    statement.kind = Statement::Kind::kMacro;
    statement.text = expect_name();
    expect_sign("(");
    while (!at_sign(")")) {
      if (!statement.parameters.empty()) expect_sign(",");
      Parameter parameter{expect_name(), nullptr};
      if (skip_sign("=")) {
        parameter.default_value = parse_expression();
      } else if (!statement.parameters.empty() && statement.parameters.back().default_value) {
        fail_here("a parameter without default follows one with default");
      }
      statement.parameters.push_back(std::move(parameter));
    }
    expect_sign(")");
    expect_kind(Token::Kind::kBlockEnd, "end of statement block");
    const int outer_loops = std::exchange(loops_, 0);
    statement.body = parse_statements({"endmacro"});
    loops_ = outer_loops;
    take();
    if (current().kind == Token::Kind::kName) take();
    expect_kind(Token::Kind::kBlockEnd, "end of statement block");
  }

  Target parse_one_target(bool with_attribute) {
    if (skip_sign("(")) {
      const Nested nested(*this);
      Target inner = parse_target(with_attribute, "");
      expect_sign(")");
      return inner;
    }
    Target target;
    target.name = expect_name();
    static constexpr std::string_view kReserved[] = {"true", "false", "none", "True", "False", "None"};
    if (std::find(std::begin(kReserved), std::end(kReserved), target.name) != std::end(kReserved)) {
      fail_here(fmt::format("cannot assign to '{}'", target.name));
    }
    if (with_attribute && skip_sign(".")) target.attribute = expect_name();
    return target;
  }

  Target parse_target(bool with_attribute, std::string_view end_name) {
    Target first = parse_one_target(with_attribute);
    if (!at_sign(",")) return first;
    Target tuple;
    tuple.parts.push_back(std::move(first));
    while (skip_sign(",")) {
      if (at_sign("=") || at_sign(")") || (!end_name.empty() && at_name(end_name))) break;
      tuple.parts.push_back(parse_one_target(with_attribute));
    }
    return tuple;
  }

  // Expressions -----------------------------------------------------------------------------------------------

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
    return current().kind == Token::Kind::kPrintEnd || current().kind == Token::Kind::kBlockEnd || at_sign(")") ||
           (!end_name.empty() && at_name(end_name));
  }

  // One expression, or several separated by commas as a tuple. Without `conditional`, `a if b` is left alone.
  ExpressionPtr parse_tuple(bool conditional, std::string_view end_name = "", bool in_brackets = false) {
    const int line = current().line;
    std::vector<ExpressionPtr> items;
    bool is_tuple = false;
    for (;;) {
      if (!items.empty()) expect_sign(",");
      if (at_tuple_end(end_name)) break;
      items.push_back(conditional ? parse_expression() : parse_or());
      if (!at_sign(",")) break;
      is_tuple = true;
    }
    if (!is_tuple && !items.empty()) return std::move(items[0]);
    if (!is_tuple && !in_brackets) fail_here(fmt::format("expected an expression, got {}", describe()));
    return make(Kind::kTuple, line, std::move(items));
  }

  ExpressionPtr parse_expression() {
    const Nested nested(*this);
    const int line = current().line;
    ExpressionPtr value = parse_or();
    while (skip_name("if")) {
      ExpressionPtr condition = parse_or();
      ExpressionPtr otherwise = skip_name("else") ? parse_expression() : nullptr;
      value = make_of(Kind::kConditional, line, "", std::move(value), std::move(condition), std::move(otherwise));
    }
    return value;
  }

  ExpressionPtr parse_or() {
    const int line = current().line;
    ExpressionPtr left = parse_and();
    while (skip_name("or")) left = make_of(Kind::kOr, line, "", std::move(left), parse_and());
    return left;
  }

  ExpressionPtr parse_and() {
    const int line = current().line;
    ExpressionPtr left = parse_not();
    while (skip_name("and")) left = make_of(Kind::kAnd, line, "", std::move(left), parse_not());
    return left;
  }

  ExpressionPtr parse_not() {
    if (at_name("not")) {
      const Nested nested(*this);
      const int line = take().line;
      return make_of(Kind::kNot, line, "", parse_not());
    }
    return parse_compare();
  }

  ExpressionPtr parse_compare() {
    static constexpr std::string_view kSigns[] = {"==", "!=", "<", "<=", ">", ">="};
    const int line = current().line;
    std::vector<ExpressionPtr> parts;
    std::vector<std::string> signs;
    parts.push_back(parse_sum());
    for (;;) {
      if (current().kind == Token::Kind::kSign &&
          std::find(std::begin(kSigns), std::end(kSigns), current().text) != std::end(kSigns)) {
        signs.push_back(take().text);
      } else if (skip_name("in")) {
        signs.push_back("in");
      } else if (at_name("not") && next().kind == Token::Kind::kName && next().text == "in") {
        take();
        take();
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

  ExpressionPtr parse_chain(std::initializer_list<std::string_view> signs, ExpressionPtr (Parser::*operand)()) {
    ExpressionPtr left = (this->*operand)();
    while (current().kind == Token::Kind::kSign &&
           std::find(signs.begin(), signs.end(), current().text) != signs.end()) {
      const Token sign = take();
      left = make_of(Kind::kBinary, sign.line, sign.text, std::move(left), (this->*operand)());
    }
    return left;
  }

  ExpressionPtr parse_sum() { return parse_chain({"+", "-"}, &Parser::parse_concat); }

  ExpressionPtr parse_concat() {
    const int line = current().line;
    std::vector<ExpressionPtr> parts;
    parts.push_back(parse_product());
    while (skip_sign("~")) parts.push_back(parse_product());
    return parts.size() == 1 ? std::move(parts[0]) : make(Kind::kConcat, line, std::move(parts));
  }

  ExpressionPtr parse_product() { return parse_chain({"*", "/", "//", "%"}, &Parser::parse_power); }
  ExpressionPtr parse_power() { return parse_chain({"**"}, &Parser::parse_unary_and_filters); }
  ExpressionPtr parse_unary_and_filters() { return parse_filters(parse_unary()); }

  ExpressionPtr parse_unary() {
    const int line = current().line;
    if (at_sign("-") || at_sign("+")) {
      const Nested nested(*this);
      const Kind kind = take().text == "-" ? Kind::kNegative : Kind::kPositive;
      return parse_postfix(make_of(kind, line, "", parse_unary()));
    }
    return parse_postfix(parse_primary());
  }

  ExpressionPtr parse_primary() {
    const Nested nested(*this);
    const int line = current().line;
    if (current().kind == Token::Kind::kName) {
      const std::string name = take().text;
      if (name == "true" || name == "True") return make_constant(line, Value(true));
      if (name == "false" || name == "False") return make_constant(line, Value(false));
      if (name == "none" || name == "None") return make_constant(line, Value());
      return make(Kind::kName, line, {}, name);
    }
    if (current().kind == Token::Kind::kString) {
      std::string text;
      while (current().kind == Token::Kind::kString) text += take().text;
      return make_constant(line, Value::text(std::move(text)));
    }
    if (current().kind == Token::Kind::kNumber) {
      const std::optional<Json> number = python::parse_literal(current().text);
      if (!number || number->is_number_unsigned()) fail_here(fmt::format("unusable number {}", describe()));
      take();
      return make_constant(line, Value::from_json(*number));
    }
    if (skip_sign("(")) {
      ExpressionPtr inner = parse_tuple(true, "", true);
      expect_sign(")");
      return inner;
    }
    if (skip_sign("[")) return make(Kind::kList, line, parse_items("]"));
    if (skip_sign("{")) return make(Kind::kDict, line, parse_pairs());
    fail_here(fmt::format("unexpected {}", describe()));
  }

  std::vector<ExpressionPtr> parse_items(std::string_view close) {
    std::vector<ExpressionPtr> items;
    while (!at_sign(close)) {
      if (!items.empty()) expect_sign(",");
      if (at_sign(close)) break;
      items.push_back(parse_expression());
    }
    expect_sign(close);
    return items;
  }

  std::vector<ExpressionPtr> parse_pairs() {
    std::vector<ExpressionPtr> items;
    while (!at_sign("}")) {
      if (!items.empty()) expect_sign(",");
      if (at_sign("}")) break;
      items.push_back(parse_expression());
      expect_sign(":");
      items.push_back(parse_expression());
    }
    expect_sign("}");
    return items;
  }

  ExpressionPtr parse_postfix(ExpressionPtr value) {
    for (;;) {
      if (at_sign(".")) {
        value = parse_attribute(std::move(value));
      } else if (at_sign("[")) {
        value = parse_subscript(std::move(value));
      } else if (at_sign("(")) {
        value = parse_call(std::move(value));
      } else {
        return value;
      }
    }
  }

  ExpressionPtr parse_filters(ExpressionPtr value) {
    for (;;) {
      if (at_sign("|")) {
        value = parse_filter(std::move(value));
      } else if (at_name("is")) {
        value = parse_test(std::move(value));
      } else if (at_sign("(")) {
        value = parse_call(std::move(value));
      } else {
        return value;
      }
    }
  }

  ExpressionPtr parse_attribute(ExpressionPtr value) {
    const int line = take().line;
    if (current().kind == Token::Kind::kNumber) {
      ExpressionPtr index = parse_primary();
      return make_of(Kind::kSubscript, line, "", std::move(value), std::move(index));
    }
    return make_of(Kind::kAttribute, line, expect_name(), std::move(value));
  }

  ExpressionPtr parse_subscript(ExpressionPtr value) {
    const int line = take().line;
    ExpressionPtr start = at_sign(":") ? nullptr : parse_expression();
    if (at_sign(",")) fail_here("a subscript with several indices is not supported");
    if (skip_sign("]")) return make_of(Kind::kSubscript, line, "", std::move(value), std::move(start));
    expect_sign(":");
    ExpressionPtr stop = at_sign(":") || at_sign("]") ? nullptr : parse_expression();
    ExpressionPtr step;
    if (skip_sign(":") && !at_sign("]")) step = parse_expression();
    expect_sign("]");
    return make_of(Kind::kSlice, line, "", std::move(value), std::move(start), std::move(stop), std::move(step));
  }

  // (a, b, key=c) after parts[0]; adds to `out`.
  void parse_arguments(std::vector<ExpressionPtr>& parts,
                       std::vector<std::pair<std::string, ExpressionPtr>>& keywords) {
    expect_sign("(");
    bool first = true;
    while (!at_sign(")")) {
      if (!std::exchange(first, false)) expect_sign(",");
      if (at_sign(")")) break;
      if (at_sign("*") || at_sign("**")) fail_here("argument unpacking with * is not supported");
      if (current().kind == Token::Kind::kName && next().kind == Token::Kind::kSign && next().text == "=") {
        std::string name = take().text;
        take();
        keywords.emplace_back(std::move(name), parse_expression());
      } else {
        if (!keywords.empty()) fail_here("a positional argument follows a keyword argument");
        parts.push_back(parse_expression());
      }
    }
    expect_sign(")");
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
    return parse_applied(Kind::kCall, current().line, "", std::move(value), true);
  }

  ExpressionPtr parse_filter(ExpressionPtr value) {
    take();
    const int line = current().line;
    std::string name = expect_name();
    if (!is_filter(name)) throw SyntaxProblem{line, fmt::format("unknown or unsupported filter '{}'", name)};
    return parse_applied(Kind::kFilter, line, std::move(name), std::move(value), at_sign("("));
  }

  ExpressionPtr parse_test(ExpressionPtr value) {
    const int line = take().line;
    const bool negated = skip_name("not");
    std::string name = expect_name();
    if (!is_test(name)) throw SyntaxProblem{line, fmt::format("unknown or unsupported test '{}'", name)};
    ExpressionPtr test;
    const bool starts_value = current().kind == Token::Kind::kString || current().kind == Token::Kind::kNumber ||
                              current().kind == Token::Kind::kName || at_sign("[") || at_sign("{");
    if (starts_value && !at_name("else") && !at_name("or") && !at_name("and") && !at_name("if")) {
      if (at_name("is")) fail_here("tests cannot be chained with is");
      ExpressionPtr argument = parse_postfix(parse_primary());
      test = make_of(Kind::kTest, line, std::move(name), std::move(value), std::move(argument));
    } else {
      test = parse_applied(Kind::kTest, line, std::move(name), std::move(value), at_sign("("));
    }
    return negated ? make_of(Kind::kNot, line, "", std::move(test)) : std::move(test);
  }

  std::vector<Token> tokens_;
  size_t position_ = 0;
  int nesting_ = 0;
  int loops_ = 0;
};

}  // namespace

Body parse_body(std::vector<Token> tokens) { return Parser(std::move(tokens)).parse(); }

}  // namespace evalmpi::text::jinja

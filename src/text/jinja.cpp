#include "evalmpi/text/jinja.h"

#include <algorithm>
#include <optional>

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "jinja_ast.h"
#include "jinja_filters.h"
#include "jinja_functions.h"
#include "jinja_names.h"
#include "jinja_parser.h"

namespace evalmpi::text {

struct Template::Parsed {
  std::string source;
  std::string where;
  TemplateOptions options;
  jinja::Body body;
  bool is_plain_text = false;
};

namespace jinja {
namespace {

constexpr size_t kMaxSourceBytes = size_t{1} << 20;
constexpr int kMaxCallDepth = 1000;

enum class Flow { kNext, kBreak, kContinue };

// Renders one template once.
class Renderer {
 public:
  Renderer(const Template::Parsed& parsed, const Json& variables)
      : parsed_(parsed), budget_(parsed.options), names_(variables, budget_) {}

  std::string render() {
    return guarded([&] {
      std::string out;
      execute(parsed_.body, out);
      return out;
    });
  }

  Json evaluate_single() {
    return guarded([&] { return to_json(evaluate(*parsed_.body[0].expression)); });
  }

 private:
  template <typename Work>
  auto guarded(Work work) -> decltype(work()) {
    try {
      return work();
    } catch (const Problem& problem) {
      fail(ExitCode::kBadInput, "{}: line {} of the template: {}", parsed_.where, line_, problem.what());
    } catch (const Error& error) {
      fail(ExitCode::kBadInput, "{}: line {} of the template: {}", parsed_.where, line_, error.what());
    }
  }

  // One more level of evaluation while it lives.
  class Level {
   public:
    explicit Level(Renderer& renderer) : renderer_(renderer) {
      renderer_.budget_.charge(1);
      if (++renderer_.depth_ > kMaxCallDepth) throw Problem("evaluation is nested deeper than 1000");
    }
    ~Level() { --renderer_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Renderer& renderer_;
  };

  void append(std::string& out, std::string_view text) {
    output_bytes_ += text.size();
    if (output_bytes_ > kMaxTextBytes) throw Problem("output above 64 MiB");
    out += text;
  }

  Flow execute(const Body& body, std::string& out) {
    for (const Statement& statement : body) {
      const Flow flow = execute(statement, out);
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  Flow execute(const Statement& statement, std::string& out) {
    const Level level(*this);
    line_ = statement.line;
    switch (statement.kind) {
      case Statement::Kind::kText: append(out, statement.text); return Flow::kNext;
      case Statement::Kind::kPrint: {
        const Value value = evaluate(*statement.expression);
        budget_.charge(weight_of(value));
        append(out, to_text(value));
        return Flow::kNext;
      }
      case Statement::Kind::kIf:
        for (const Branch& branch : statement.branches) {
          if (!branch.condition || truth(evaluate(*branch.condition))) return execute(branch.body, out);
        }
        return Flow::kNext;
      case Statement::Kind::kFor: execute_for(statement, out); return Flow::kNext;
      case Statement::Kind::kSet: names_.assign(statement.target, evaluate(*statement.expression)); return Flow::kNext;
      case Statement::Kind::kSetBlock: {
        std::string text;
        {
          const Names::Inner inner(names_);
          execute(statement.body, text);
        }
        names_.assign(statement.target, Value::text(std::move(text)));
        return Flow::kNext;
      }
      case Statement::Kind::kMacro:
        names_.bind(statement.text, Value(std::make_shared<const Macro>(Macro{&statement})));
        return Flow::kNext;
      case Statement::Kind::kBody: return execute(statement.body, out);
      case Statement::Kind::kBreak: return Flow::kBreak;
      case Statement::Kind::kContinue: return Flow::kContinue;
    }
    return Flow::kNext;
  }

  void execute_for(const Statement& statement, std::string& out) {
    std::shared_ptr<const List> list = items_of(evaluate(*statement.expression));
    budget_.charge(list->items.size());
    if (statement.filter) list = filtered(statement, *list);
    if (list->items.empty()) {
      const Names::Inner inner(names_);
      execute(statement.else_body, out);
      return;
    }
    const auto loop = std::make_shared<Loop>(Loop{list, 0});
    for (size_t i = 0; i < list->items.size(); ++i) {
      loop->index0 = i;
      budget_.charge(8);
      const Names::Inner inner(names_);
      names_.bind("loop", Value(loop));
      names_.assign(statement.target, list->items[i]);
      if (execute(statement.body, out) == Flow::kBreak) break;
    }
  }

  std::shared_ptr<const List> filtered(const Statement& statement, const List& list) {
    auto out = std::make_shared<List>();
    for (const Value& item : list.items) {
      const Names::Inner inner(names_);
      names_.assign(statement.target, item);
      if (truth(evaluate(*statement.filter))) out->items.push_back(item);
    }
    return out;
  }

  Value evaluate(const Expression& expression) {
    const Level level(*this);
    line_ = expression.line;
    using Kind = Expression::Kind;
    const auto part = [&](size_t i) { return evaluate(*expression.parts[i]); };
    switch (expression.kind) {
      case Kind::kConstant: return expression.constant;
      case Kind::kName: return names_.lookup(expression.text);
      case Kind::kList: return Value::list(evaluate_all(expression, 0));
      case Kind::kTuple: return Value::list(evaluate_all(expression, 0), List::Form::kTuple);
      case Kind::kDict: return evaluate_dict(expression);
      case Kind::kAttribute: return attribute_of(part(0), expression.text, parsed_.options);
      case Kind::kSubscript: return evaluate_subscript(expression);
      case Kind::kSlice: return evaluate_slice(expression);
      case Kind::kCall: return evaluate_call(expression);
      case Kind::kFilter: {
        const Value subject = part(0);
        return apply_filter(expression.text, subject, evaluate_arguments(expression), budget_);
      }
      case Kind::kTest: {
        const Value subject = part(0);
        return Value(apply_test(expression.text, subject, evaluate_arguments(expression), budget_));
      }
      case Kind::kNot: return Value(!truth(part(0)));
      case Kind::kNegative: return negate(part(0));
      case Kind::kPositive: return arithmetic("+", Value(int64_t{0}), part(0));
      case Kind::kBinary: return evaluate_binary(expression);
      case Kind::kConcat: return evaluate_concat(expression);
      case Kind::kAnd: {
        Value left = part(0);
        return truth(left) ? part(1) : left;
      }
      case Kind::kOr: {
        Value left = part(0);
        return truth(left) ? left : part(1);
      }
      case Kind::kCompare: return evaluate_compare(expression);
      case Kind::kConditional:
        if (truth(part(1))) return part(0);
        if (expression.parts[2]) return part(2);
        // Jinja2 makes this one lenient even under StrictUndefined.
        return Value(Undefined{"the inline if-expression evaluated to false and no else section was defined", false});
    }
    return Value();
  }

  std::vector<Value> evaluate_all(const Expression& expression, size_t first) {
    std::vector<Value> out;
    for (size_t i = first; i < expression.parts.size(); ++i) out.push_back(evaluate(*expression.parts[i]));
    return out;
  }

  Arguments evaluate_arguments(const Expression& expression) {
    Arguments out;
    out.positional = evaluate_all(expression, 1);
    for (const auto& [name, value] : expression.keywords) out.keywords.emplace_back(name, evaluate(*value));
    return out;
  }

  Value evaluate_dict(const Expression& expression) {
    std::vector<std::pair<Value, Value>> items;
    for (size_t i = 0; i < expression.parts.size(); i += 2) {
      Value key = evaluate(*expression.parts[i]);
      Value value = evaluate(*expression.parts[i + 1]);
      budget_.charge(items.size());
      const auto same =
          std::find_if(items.begin(), items.end(), [&](const auto& item) { return equal(item.first, key); });
      if (same == items.end()) {
        items.emplace_back(std::move(key), std::move(value));
      } else {
        same->second = std::move(value);
      }
    }
    return Value::dict(std::move(items));
  }

  Value evaluate_subscript(const Expression& expression) {
    const Value holder = evaluate(*expression.parts[0]);
    const Value key = evaluate(*expression.parts[1]);
    if (holder.as_text()) budget_.charge(weight_of(holder));
    if (holder.as_dict()) budget_.charge(holder.as_dict()->items.size() / 16);
    return item_of(holder, key, parsed_.options);
  }

  Value evaluate_slice(const Expression& expression) {
    const Value holder = evaluate(*expression.parts[0]);
    std::optional<int64_t> bounds[3];
    for (size_t i = 0; i < 3; ++i) {
      if (!expression.parts[i + 1]) continue;
      const Value bound = evaluate(*expression.parts[i + 1]);
      if (!bound.is_none()) bounds[i] = integer_of(bound, "slice bound");
    }
    require_defined(holder);
    budget_.charge(weight_of(holder));
    if (const std::string* text = holder.as_text())
      return Value::text(python::slice(*text, bounds[0], bounds[1], bounds[2]));
    const List* list = holder.as_list();
    if (!list || list->form == List::Form::kGenerator || list->form == List::Form::kView) {
      throw Problem(fmt::format("'{}' object cannot be sliced", type_name(holder)));
    }
    std::vector<Value> out;
    for (const int64_t at :
         python::slice_positions(static_cast<int64_t>(list->items.size()), bounds[0], bounds[1], bounds[2])) {
      out.push_back(list->items[static_cast<size_t>(at)]);
    }
    return Value::list(std::move(out), list->form);
  }

  Value evaluate_binary(const Expression& expression) {
    const Value left = evaluate(*expression.parts[0]);
    const Value right = evaluate(*expression.parts[1]);
    Value out = arithmetic(expression.text, left, right);
    budget_.charge(weight_of(left) + weight_of(right) + weight_of(out));
    return out;
  }

  Value evaluate_concat(const Expression& expression) {
    std::string out;
    for (const ExpressionPtr& part : expression.parts) {
      const Value value = evaluate(*part);
      budget_.charge(weight_of(value));
      out += to_text(value);
      if (out.size() > kMaxTextBytes) throw Problem("text above 64 MiB");
    }
    budget_.charge(out.size() / 64);
    return Value::text(std::move(out));
  }

  bool compare(const std::string& sign, const Value& left, const Value& right) {
    budget_.charge(weight_of(left) + weight_of(right));
    if (sign == "in" || sign == "not in") {
      if (left.as_text() && right.as_text()) budget_.charge(search_steps(*right.as_text(), *left.as_text()));
      return contains(right, left) == (sign == "in");
    }
    if (sign == "==") return equal(left, right);
    if (sign == "!=") return !equal(left, right);
    if (sign == "<") return less(left, right, sign);
    if (sign == ">") return less(right, left, sign);
    return (sign == "<=" ? less(left, right, sign) : less(right, left, sign)) || equal(left, right);
  }

  Value evaluate_compare(const Expression& expression) {
    Value left = evaluate(*expression.parts[0]);
    for (size_t i = 0; i < expression.signs.size(); ++i) {
      Value right = evaluate(*expression.parts[i + 1]);
      if (!compare(expression.signs[i], left, right)) return Value(false);
      left = std::move(right);
    }
    return Value(true);
  }

  Value evaluate_call(const Expression& expression) {
    const Value callee = evaluate(*expression.parts[0]);
    require_defined(callee);
    const Arguments arguments = evaluate_arguments(expression);
    line_ = expression.line;
    if (const auto* method = callee.as<Method>()) return call_method(*method->object, method->name, arguments, budget_);
    if (const auto* macro = callee.as<std::shared_ptr<const Macro>>()) return call_macro(**macro, arguments);
    if (const auto* function = callee.as<Function>()) return call_function(function->name, arguments, budget_);
    throw Problem(fmt::format("'{}' object is not callable", type_name(callee)));
  }

  Value call_macro(const Macro& macro, const Arguments& arguments) {
    const Statement& statement = *macro.statement;
    std::vector<std::string_view> names;
    for (const Parameter& parameter : statement.parameters) names.push_back(parameter.name);
    const auto bound = arguments.bind(fmt::format("macro '{}'", statement.text), names);
    const Names::Inner inner(names_, true);
    for (size_t i = 0; i < names.size(); ++i) {
      const Parameter& parameter = statement.parameters[i];
      Value value = bound[i] ? *bound[i]
                             : Value(Undefined{fmt::format("parameter '{}' was not provided", parameter.name),
                                               parsed_.options.strict_undefined});
      if (!bound[i] && parameter.default_value) value = evaluate(*parameter.default_value);
      names_.bind(parameter.name, std::move(value));
    }
    std::string out;
    execute(statement.body, out);
    return Value::text(std::move(out));
  }

  const Template::Parsed& parsed_;
  Budget budget_;
  Names names_;
  size_t output_bytes_ = 0;
  int depth_ = 0;
  int line_ = 1;
};

}  // namespace
}  // namespace jinja

Template Template::parse(std::string source, std::string where, TemplateOptions options) {
  if (source.size() > jinja::kMaxSourceBytes) fail(ExitCode::kBadInput, "{}: a template above 1 MiB", where);
  auto parsed = std::make_shared<Parsed>();
  parsed->where = std::move(where);
  parsed->options = options;
  try {
    std::vector<jinja::Token> tokens = jinja::tokenize(source, options);
    parsed->is_plain_text = tokens.size() <= 2 && (tokens.size() == 1 ? source.empty() : tokens[0].text == source);
    parsed->body = jinja::parse_body(std::move(tokens));
  } catch (const jinja::SyntaxProblem& problem) {
    fail(ExitCode::kBadInput, "{}: line {} of the template: {}", parsed->where, problem.line, problem.message);
  } catch (const jinja::Problem& problem) {
    fail(ExitCode::kBadInput, "{}: {}", parsed->where, problem.what());
  }
  parsed->source = std::move(source);
  return Template(std::move(parsed));
}

std::string Template::render(const Json& variables) const { return jinja::Renderer(*parsed_, variables).render(); }

Json Template::evaluate(const Json& variables) const {
  const bool is_single = parsed_->body.size() == 1 && parsed_->body[0].kind == jinja::Statement::Kind::kPrint;
  if (is_single) return jinja::Renderer(*parsed_, variables).evaluate_single();
  return render(variables);
}

bool Template::is_plain_text() const { return parsed_->is_plain_text; }
const std::string& Template::source() const { return parsed_->source; }

}  // namespace evalmpi::text

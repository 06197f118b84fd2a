#pragma once

// A parsed template as a tree.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jinja_value.h"

namespace evalmpi::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    kConstant,     // constant
    kName,         // text
    kList,         // parts
    kTuple,        // parts
    kDict,         // parts: key, value, key, value ...
    kAttribute,    // parts[0].text
    kSubscript,    // parts[0][parts[1]]
    kSlice,        // parts[0][parts[1]:parts[2]:parts[3]], absent bounds null
    kCall,         // parts[0](parts[1:], keywords)
    kFilter,       // parts[0] | text(parts[1:], keywords)
    kTest,         // parts[0] is text(parts[1:])
    kNot,          // parts[0]
    kNegative,     // parts[0]
    kPositive,     // parts[0]
    kBinary,       // parts[0] text parts[1]
    kConcat,       // parts joined as texts
    kAnd,          // parts[0], parts[1]
    kOr,           // parts[0], parts[1]
    kCompare,      // parts[0] signs[0] parts[1] signs[1] parts[2] ...
    kConditional,  // parts[0] if parts[1] else parts[2] (may be null)
  };
  Kind kind;
  int line = 0;
  int depth = 1;
  std::string text;
  Value constant;
  std::vector<ExpressionPtr> parts;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  std::vector<std::string> signs;
};

struct Statement;
using Body = std::vector<Statement>;

// What a set or for statement assigns to: one name, ns.attribute, or several of them.
struct Target {
  std::string name;
  std::string attribute;      // of the namespace `name`, else empty
  std::vector<Target> parts;  // not empty: a tuple
};

struct Branch {
  ExpressionPtr condition;  // null: else
  Body body;
};

struct Parameter {
  std::string name;
  ExpressionPtr default_value;  // null: none
};

struct Statement {
  enum class Kind { kText, kPrint, kIf, kFor, kSet, kSetBlock, kMacro, kBody, kBreak, kContinue };
  Kind kind;
  int line = 0;
  std::string text;                   // kText: the text; kMacro: its name
  ExpressionPtr expression;           // kPrint, kSet: the value; kFor: what is iterated
  ExpressionPtr filter;               // kFor: the condition after `if`, or null
  Target target;                      // kSet, kSetBlock, kFor
  std::vector<Branch> branches;       // kIf
  std::vector<Parameter> parameters;  // kMacro
  Body body;                          // kFor, kSetBlock, kMacro, kBody
  Body else_body;                     // kFor
};

struct Macro {
  const Statement* statement;
};

}  // namespace evalmpi::text::jinja

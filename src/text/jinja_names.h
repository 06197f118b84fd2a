#pragma once

// What names stand for while a template is rendered.

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "jinja_ast.h"
#include "jinja_filters.h"
#include "jinja_value.h"

namespace evalmpi::text::jinja {

// Scopes of names, the innermost last, before the template's variables and its functions.
class Names {
 public:
  // variables: an object, which outlives this, as `budget` does.
  Names(const Json& variables, Budget& budget) : variables_(variables), budget_(budget), scopes_(1) {}

  // Undefined where there is none. Converting a variable is charged once.
  Value lookup(const std::string& name);

  // In the innermost scope.
  void bind(const std::string& name, Value value);
  void assign(const Target& target, const Value& value);

  // A scope of its own while it lives. That of a macro sees its own names and the outermost ones only.
  class Inner {
   public:
    explicit Inner(Names& names, bool is_macro = false) : names_(names), outer_base_(names.macro_base_) {
      if (is_macro) names_.macro_base_ = names_.scopes_.size();
      names_.scopes_.emplace_back();
    }
    ~Inner() {
      names_.scopes_.pop_back();
      names_.macro_base_ = outer_base_;
    }
    Inner(const Inner&) = delete;
    Inner& operator=(const Inner&) = delete;

   private:
    Names& names_;
    size_t outer_base_;
  };

 private:
  using Scope = std::vector<std::pair<std::string, Value>>;

  static const Value* find_in(const Scope& scope, const std::string& name);
  void assign_attribute(const Target& target, const Value& value);

  const Json& variables_;
  Budget& budget_;
  std::vector<Scope> scopes_;
  std::unordered_map<std::string, Value> converted_;
  size_t macro_base_ = 0;
};

}  // namespace evalmpi::text::jinja

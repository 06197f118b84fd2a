#include "jinja_names.h"

#include "jinja_functions.h"

namespace evalmpi::text::jinja {

const Value* Names::find_in(const Scope& scope, const std::string& name) {
  for (const auto& [key, value] : scope) {
    if (key == name) return &value;
  }
  return nullptr;
}

Value Names::lookup(const std::string& name) {
  for (size_t i = scopes_.size(); i > macro_base_; --i) {
    if (const Value* found = find_in(scopes_[i - 1], name)) return *found;
  }
  if (const Value* found = find_in(scopes_[0], name)) return *found;
  if (const auto cached = converted_.find(name); cached != converted_.end()) return cached->second;
  if (const auto found = variables_.find(name); found != variables_.end()) {
    Value value = Value::from_json(*found);
    budget_.charge(weight_of(value));
    converted_.emplace(name, value);
    return value;
  }
  if (is_function(name)) return Value(Function{name});
  return Value(Undefined{fmt::format("'{}' is undefined", name), budget_.options().strict_undefined});
}

void Names::bind(const std::string& name, Value value) {
  for (auto& [key, old] : scopes_.back()) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  scopes_.back().emplace_back(name, std::move(value));
}

void Names::assign(const Target& target, const Value& value) {
  if (!target.parts.empty()) {
    const auto items = items_of(value);
    if (items->items.size() != target.parts.size()) {
      throw Problem(fmt::format("{} values for {} names", items->items.size(), target.parts.size()));
    }
    for (size_t i = 0; i < target.parts.size(); ++i) assign(target.parts[i], items->items[i]);
  } else if (target.attribute.empty()) {
    bind(target.name, value);
  } else {
    assign_attribute(target, value);
  }
}

void Names::assign_attribute(const Target& target, const Value& value) {
  const Value holder = lookup(target.name);
  const auto* space = holder.as<std::shared_ptr<Namespace>>();
  if (!space) throw Problem("cannot assign an attribute of anything but a namespace");
  if (value.as<std::shared_ptr<Namespace>>() || value.as<std::shared_ptr<Loop>>()) {
    throw Problem("a namespace cannot hold a namespace or loop");
  }
  for (auto& [key, old] : (*space)->items) {
    if (key == target.attribute) {
      old = value;
      return;
    }
  }
  (*space)->items.emplace_back(target.attribute, value);
}

}  // namespace evalmpi::text::jinja

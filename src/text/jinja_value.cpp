#include "jinja_value.h"

#include <algorithm>
#include <cmath>

#include "evalmpi/text/python.h"
#include "jinja_ast.h"

namespace evalmpi::text::jinja {
namespace {

// Python keeps no order between a container's depth or weight and time; we bound both when one is made.
void grow(const Value& item, int& depth, uint64_t& weight) {
  if (item.as<std::shared_ptr<Namespace>>() || item.as<std::shared_ptr<Loop>>()) {
    throw Problem("a namespace or loop cannot be put into a list or dict");
  }
  if (const List* list = item.as_list()) depth = std::max(depth, list->depth + 1);
  if (const Dict* dict = item.as_dict()) depth = std::max(depth, dict->depth + 1);
  weight += weight_of(item);
  if (depth > kMaxValueDepth) throw Problem(fmt::format("a value is nested deeper than {}", kMaxValueDepth));
  if (weight > kMaxSteps) throw Problem("a value is too large");
}

[[noreturn]] void fail_not_printable(std::string_view what) {
  throw Problem(fmt::format("a {} has no text form here; use the filter list on it", what));
}

void append_repr(std::string& out, const Value& value) {
  if (const std::string* text = value.as_text()) {
    out += python::repr_text(*text);
  } else if (const List* list = value.as_list()) {
    if (list->form == List::Form::kView || list->form == List::Form::kGenerator)
      fail_not_printable("generator or view");
    const bool tuple = list->form == List::Form::kTuple;
    out += tuple ? '(' : '[';
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(out, list->items[i]);
    }
    if (tuple && list->items.size() == 1) out += ',';
    out += tuple ? ')' : ']';
  } else if (const Dict* dict = value.as_dict()) {
    out += '{';
    for (size_t i = 0; i < dict->items.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(out, dict->items[i].first);
      out += ": ";
      append_repr(out, dict->items[i].second);
    }
    out += '}';
  } else {
    require_defined(value);
    out += to_text(value);
  }
  if (out.size() > kMaxTextBytes) throw Problem("text above 64 MiB");
}

}  // namespace

Value Value::text(std::string text) {
  if (text.size() > kMaxTextBytes) throw Problem("text above 64 MiB");
  return Value(std::make_shared<const std::string>(std::move(text)));
}

Value Value::list(std::vector<Value> items, List::Form form) {
  auto list = std::make_shared<List>();
  for (const Value& item : items) grow(item, list->depth, list->weight);
  list->items = std::move(items);
  list->form = form;
  return Value(std::shared_ptr<const List>(std::move(list)));
}

Value Value::dict(std::vector<std::pair<Value, Value>> items) {
  auto dict = std::make_shared<Dict>();
  for (const auto& [key, item] : items) {
    if (key.as_list() || key.as_dict()) throw Problem(fmt::format("unhashable type: '{}'", type_name(key)));
    grow(key, dict->depth, dict->weight);
    grow(item, dict->depth, dict->weight);
  }
  dict->items = std::move(items);
  return Value(std::shared_ptr<const Dict>(std::move(dict)));
}

Value Value::from_json(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null: return Value();
    case Json::value_t::boolean: return Value(json.get<bool>());
    case Json::value_t::number_integer: return Value(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) throw Problem("an integer is above int64");
      return Value(json.get<int64_t>());
    case Json::value_t::number_float: return Value(json.get<double>());
    case Json::value_t::string: return text(json.get<std::string>());
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(from_json(item));
      return list(std::move(items));
    }
    case Json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      items.reserve(json.size());
      for (auto it = json.begin(); it != json.end(); ++it) items.emplace_back(text(it.key()), from_json(it.value()));
      return dict(std::move(items));
    }
    default: throw Problem("a binary value cannot be used in a template");
  }
}

std::string type_name(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.as<bool>()) return "bool";
  if (value.as<int64_t>()) return "int";
  if (value.as<double>()) return "float";
  if (value.as_text()) return "str";
  if (value.as_dict()) return "dict";
  if (value.as<std::shared_ptr<Namespace>>()) return "namespace";
  if (value.as<std::shared_ptr<Loop>>()) return "loop";
  if (const List* list = value.as_list()) {
    switch (list->form) {
      case List::Form::kList: return "list";
      case List::Form::kTuple: return "tuple";
      case List::Form::kView: return "view";
      case List::Form::kGenerator: return "generator";
    }
  }
  return "function";
}

uint64_t weight_of(const Value& value) {
  if (const std::string* text = value.as_text()) return 1 + text->size() / 64;
  if (const List* list = value.as_list()) return list->weight;
  if (const Dict* dict = value.as_dict()) return dict->weight;
  return 1;
}

void require_usable(const Value& value) {
  if (const auto* undefined = value.as<Undefined>(); undefined && undefined->strict) throw Problem(undefined->problem);
}

void require_defined(const Value& value) {
  if (const auto* undefined = value.as<Undefined>()) throw Problem(undefined->problem);
}

bool truth(const Value& value) {
  require_usable(value);
  if (value.is_undefined() || value.is_none()) return false;
  if (const bool* flag = value.as<bool>()) return *flag;
  if (const int64_t* number = value.as<int64_t>()) return *number != 0;
  if (const double* number = value.as<double>()) return *number != 0;
  if (const std::string* text = value.as_text()) return !text->empty();
  if (const List* list = value.as_list()) return list->form == List::Form::kGenerator || !list->items.empty();
  if (const Dict* dict = value.as_dict()) return !dict->items.empty();
  return true;
}

std::string to_text(const Value& value) {
  require_usable(value);
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (const bool* flag = value.as<bool>()) return *flag ? "True" : "False";
  if (const int64_t* number = value.as<int64_t>()) return std::to_string(*number);
  if (const double* number = value.as<double>()) return python::repr_float(*number);
  if (const std::string* text = value.as_text()) return *text;
  if (!value.as_list() && !value.as_dict()) fail_not_printable(type_name(value));
  return to_repr(value);
}

std::string to_repr(const Value& value) {
  std::string out;
  append_repr(out, value);
  return out;
}

int64_t length_of(const Value& value) {
  require_usable(value);
  if (value.is_undefined()) return 0;
  if (const std::string* text = value.as_text()) return static_cast<int64_t>(python::length(*text));
  if (const List* list = value.as_list(); list && list->form != List::Form::kGenerator) {
    return static_cast<int64_t>(list->items.size());
  }
  if (const Dict* dict = value.as_dict()) return static_cast<int64_t>(dict->items.size());
  throw Problem(fmt::format("object of type '{}' has no length", type_name(value)));
}

int64_t integer_of(const Value& value, std::string_view what) {
  require_defined(value);
  if (const int64_t* number = value.as<int64_t>()) return *number;
  if (const bool* flag = value.as<bool>()) return *flag ? 1 : 0;
  throw Problem(fmt::format("{} must be an integer, not {}", what, type_name(value)));
}

double number_of(const Value& value, std::string_view what) {
  if (const double* number = value.as<double>()) return *number;
  require_defined(value);
  if (!value.is_number()) throw Problem(fmt::format("{} must be a number, not {}", what, type_name(value)));
  return static_cast<double>(integer_of(value, what));
}

std::shared_ptr<const List> items_of(const Value& value) {
  require_usable(value);
  if (const auto* list = value.as<std::shared_ptr<const List>>()) return *list;
  auto out = std::make_shared<List>();
  if (value.is_undefined()) return out;
  if (const Dict* dict = value.as_dict()) {
    for (const auto& [key, item] : dict->items) out->items.push_back(key);
  } else if (const std::string* text = value.as_text()) {
    for (const std::string_view character : python::code_points(*text)) {
      out->items.push_back(Value::text(std::string(character)));
    }
  } else {
    throw Problem(fmt::format("'{}' object is not iterable", type_name(value)));
  }
  out->weight = 1 + out->items.size();
  return out;
}

bool equal(const Value& left, const Value& right) {
  require_usable(left);
  require_usable(right);
  if (left.is_undefined() || right.is_undefined()) return left.is_undefined() && right.is_undefined();
  if (left.is_none() || right.is_none()) return left.is_none() && right.is_none();
  if (left.is_number() && right.is_number()) {
    if (left.as<double>() || right.as<double>()) return number_of(left, "") == number_of(right, "");
    return integer_of(left, "") == integer_of(right, "");
  }
  if (left.as_text() && right.as_text()) return *left.as_text() == *right.as_text();
  if (const List* a = left.as_list(), *b = right.as_list(); a && b) {
    return a->form == b->form && std::equal(a->items.begin(), a->items.end(), b->items.begin(), b->items.end(), equal);
  }
  if (const Dict* a = left.as_dict(), *b = right.as_dict(); a && b) {
    return a->items.size() == b->items.size() && std::all_of(a->items.begin(), a->items.end(), [&](const auto& item) {
             const Value* other = find_key(*b, item.first);
             return other && equal(item.second, *other);
           });
  }
  return false;
}

bool less(const Value& left, const Value& right, std::string_view sign) {
  require_defined(left);
  require_defined(right);
  if (left.is_number() && right.is_number()) {
    if (left.as<double>() || right.as<double>()) return number_of(left, "") < number_of(right, "");
    return integer_of(left, "") < integer_of(right, "");
  }
  if (left.as_text() && right.as_text()) return *left.as_text() < *right.as_text();
  if (const List* a = left.as_list(), *b = right.as_list(); a && b && a->form == b->form) {
    for (size_t i = 0; i < std::min(a->items.size(), b->items.size()); ++i) {
      if (!equal(a->items[i], b->items[i])) return less(a->items[i], b->items[i], sign);
    }
    return a->items.size() < b->items.size();
  }
  throw Problem(
      fmt::format("'{}' not supported between instances of '{}' and '{}'", sign, type_name(left), type_name(right)));
}

bool contains(const Value& container, const Value& item) {
  if (const std::string* text = container.as_text()) {
    require_defined(item);
    if (!item.as_text()) throw Problem(fmt::format("'in <string>' requires string, not {}", type_name(item)));
    return text->find(*item.as_text()) != text->npos;
  }
  if (const Dict* dict = container.as_dict()) return find_key(*dict, item) != nullptr;
  const auto list = items_of(container);
  return std::any_of(list->items.begin(), list->items.end(), [&](const Value& other) { return equal(other, item); });
}

const Value* find_key(const Dict& dict, const Value& key) {
  const std::string* text = key.as_text();
  for (const auto& [other, item] : dict.items) {
    const std::string* other_text = other.as_text();
    if (text && other_text ? *text == *other_text : !text == !other_text && equal(other, key)) return &item;
  }
  return nullptr;
}

Json to_json(const Value& value) {
  require_defined(value);
  if (value.is_none()) return nullptr;
  if (const bool* flag = value.as<bool>()) return *flag;
  if (const int64_t* number = value.as<int64_t>()) return *number;
  if (const double* number = value.as<double>()) return *number;
  if (const std::string* text = value.as_text()) return *text;
  if (const List* list = value.as_list()) {
    if (list->form == List::Form::kView || list->form == List::Form::kGenerator)
      fail_not_printable("generator or view");
    Json out = Json::array();
    for (const Value& item : list->items) out.push_back(to_json(item));
    return out;
  }
  if (const Dict* dict = value.as_dict()) {
    Json out = Json::object();
    for (const auto& [key, item] : dict->items) {
      if (!key.as_text()) throw Problem("a dict key is not text");
      out[*key.as_text()] = to_json(item);
    }
    return out;
  }
  fail_not_printable(type_name(value));
}

}  // namespace evalmpi::text::jinja

#include <algorithm>
#include <cstring>

#include "evalmpi/text/python.h"
#include "jinja_filters.h"
#include "jinja_numbers.h"

namespace evalmpi::text::jinja {
namespace {

constexpr std::string_view kTextMethods[] = {
    "capitalize", "count",  "endswith", "find",         "format",       "index",   "isdigit", "isspace",
    "join",       "lower",  "lstrip",   "removeprefix", "removesuffix", "replace", "rfind",   "rindex",
    "rsplit",     "rstrip", "split",    "splitlines",   "startswith",   "strip",   "title",   "upper"};
constexpr std::string_view kListMethods[] = {"count", "index"};
constexpr std::string_view kDictMethods[] = {"get", "items", "keys", "values"};
// Python's other dict attributes: a template that means the key must not get these silently, nor the key instead.
constexpr std::string_view kOtherDictMethods[] = {"clear",   "copy",       "fromkeys", "pop",
                                                  "popitem", "setdefault", "update"};

template <size_t kSize>
bool is_one_of(const std::string& name, const std::string_view (&names)[kSize]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool has_method(const Value& value, const std::string& name) {
  if (value.as_text()) return is_one_of(name, kTextMethods) || is_other_text_method(name);
  if (value.as_dict()) return is_one_of(name, kDictMethods) || is_one_of(name, kOtherDictMethods);
  if (const List* list = value.as_list()) {
    return (list->form == List::Form::kList || list->form == List::Form::kTuple) && is_one_of(name, kListMethods);
  }
  return value.as<std::shared_ptr<Loop>>() && name == "cycle";
}

Value loop_attribute(const Loop& loop, const std::string& name, const TemplateOptions& options) {
  const auto size = static_cast<int64_t>(loop.list->items.size());
  const auto at = static_cast<int64_t>(loop.index0);
  const auto neighbour = [&](int64_t i, std::string_view what) {
    if (i >= 0 && i < size) return loop.list->items[static_cast<size_t>(i)];
    return Value(Undefined{fmt::format("there is no {} item", what), options.strict_undefined});
  };
  if (name == "index") return Value(at + 1);
  if (name == "index0") return Value(at);
  if (name == "revindex") return Value(size - at);
  if (name == "revindex0") return Value(size - at - 1);
  if (name == "first") return Value(at == 0);
  if (name == "last") return Value(at == size - 1);
  if (name == "length") return Value(size);
  if (name == "previtem") return neighbour(at - 1, "previous");
  if (name == "nextitem") return neighbour(at + 1, "next");
  throw Problem(fmt::format("loop.{} is not supported", name));
}

const std::string& text_argument(const std::optional<Value>& value, std::string_view method) {
  if (!value) throw Problem(fmt::format("{} needs an argument", method));
  require_defined(*value);
  if (!value->as_text()) throw Problem(fmt::format("{} argument must be str, not {}", method, type_name(*value)));
  return *value->as_text();
}

std::optional<int64_t> bound_of(const std::optional<Value>& value) {
  if (!value || value->is_none()) return {};
  return integer_of(*value, "position");
}

Value texts(const std::vector<std::string>& pieces, Budget& budget) {
  budget.charge(pieces.size());
  std::vector<Value> out;
  for (const std::string& piece : pieces) out.push_back(Value::text(piece));
  return Value::list(std::move(out));
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  static constexpr std::string_view kEnds[] = {"\r\n", "\n",   "\r",       "\v",           "\f",          "\x1c",
                                               "\x1d", "\x1e", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
  std::vector<std::string> out;
  size_t start = 0;
  for (size_t i = 0; i < text.size();) {
    const auto* end = std::find_if(std::begin(kEnds), std::end(kEnds),
                                   [&](std::string_view mark) { return text.substr(i).starts_with(mark); });
    if (end == std::end(kEnds)) {
      ++i;
      continue;
    }
    out.emplace_back(text.substr(start, i - start + (keep_ends ? end->size() : 0)));
    i += end->size();
    start = i;
  }
  if (start < text.size()) out.emplace_back(text.substr(start));
  return out;
}

// rsplit by mirroring: for the whitespace form and for a separator.
std::vector<std::string> split_from_right(const std::string& text, const std::optional<std::string>& separator,
                                          int64_t count) {
  if (count < 0) return separator ? python::split(text, *separator) : python::split(text);
  std::vector<std::string> out;
  std::string rest = separator ? text : python::rstrip(text);
  while (static_cast<int64_t>(out.size()) < count) {
    size_t at = std::string::npos;
    size_t bytes = 0;
    if (separator) {
      if (separator->empty()) throw Problem("empty separator");
      at = rest.rfind(*separator);
      bytes = separator->size();
    } else {
      size_t position = 0;
      for (const std::string_view character : python::code_points(rest)) {
        if (python::strip(character).empty()) at = position, bytes = character.size();
        position += character.size();
      }
    }
    if (at == std::string::npos) break;
    out.push_back(rest.substr(at + bytes));
    rest = separator ? rest.substr(0, at) : python::rstrip(rest.substr(0, at));
  }
  if (separator || !python::strip(rest).empty()) out.push_back(rest);
  std::reverse(out.begin(), out.end());
  return out;
}

// "{} {0} {name}".format(...): fields without conversion or format specification.
std::string brace_format(const std::string& pattern, const Arguments& arguments) {
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '{' && c != '}') {
      out += c;
    } else if (i + 1 < pattern.size() && pattern[i + 1] == c) {
      out += c;
      ++i;
    } else {
      const size_t end = c == '{' ? pattern.find('}', i) : std::string::npos;
      if (end == std::string::npos) throw Problem("a single brace in a format string");
      const std::string field = pattern.substr(i + 1, end - i - 1);
      const bool numbered = !field.empty() && field.find_first_not_of("0123456789") == std::string::npos;
      if (field.empty() || numbered) {
        const auto at = field.empty() ? next++ : static_cast<size_t>(parse_integer(field).value_or(0));
        if (at >= arguments.positional.size()) throw Problem("a format string names an argument that is not there");
        out += to_text(arguments.positional[at]);
      } else {
        const auto found = std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                                        [&](const auto& keyword) { return keyword.first == field; });
        if (found == arguments.keywords.end()) throw Problem(fmt::format("unsupported format field '{}'", field));
        out += to_text(found->second);
      }
      i = end;
    }
    if (out.size() > kMaxTextBytes) throw Problem("text above 64 MiB");
  }
  return out;
}

bool has_affix(const std::string& text, const std::optional<Value>& value, bool at_start, std::string_view method) {
  const auto matches = [&](const std::string& affix) {
    return at_start ? text.starts_with(affix) : text.ends_with(affix);
  };
  if (value && value->as_list() && value->as_list()->form == List::Form::kTuple) {
    const auto& items = value->as_list()->items;
    return std::any_of(items.begin(), items.end(),
                       [&](const Value& item) { return matches(text_argument(item, method)); });
  }
  return matches(text_argument(value, method));
}

// find, index, rfind and rindex of text; -1 when absent.
int64_t find_text(const std::string& text, const std::string& name, const Arguments& arguments) {
  const auto bound = arguments.bind(name, {"sub", "start", "end"});
  const std::string& part = text_argument(bound[0], name);
  const auto size = static_cast<int64_t>(python::length(text));
  int64_t start = bound_of(bound[1]).value_or(0);
  if (start < 0) start = std::max<int64_t>(start + size, 0);
  if (start > size) return -1;
  const std::string window = bound[1] || bound[2] ? python::slice(text, start, bound_of(bound[2])) : text;
  const size_t at = name.starts_with('r') ? window.rfind(part) : window.find(part);
  if (at == std::string::npos) return -1;
  return start + static_cast<int64_t>(python::length(std::string_view(window).substr(0, at)));
}

Value strip_text(const std::string& text, const std::string& name, const Arguments& arguments) {
  const auto bound = arguments.bind(name, {"chars"});
  std::optional<std::string_view> characters;
  if (bound[0] && !bound[0]->is_none()) characters = text_argument(bound[0], name);
  if (name == "strip") return Value::text(python::strip(text, characters));
  return Value::text(name == "lstrip" ? python::lstrip(text, characters) : python::rstrip(text, characters));
}

Value split_text(const std::string& text, const std::string& name, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind(name, {"sep", "maxsplit"});
  std::optional<std::string> separator;
  if (bound[0] && !bound[0]->is_none()) separator = text_argument(bound[0], name);
  const int64_t count = bound_of(bound[1]).value_or(-1);
  if (separator) budget.charge(search_steps(text, *separator));
  if (name == "split")
    return texts(separator ? python::split(text, *separator, count) : python::split(text, count), budget);
  if (count > 0) budget.charge(static_cast<uint64_t>(std::min<int64_t>(count, INT32_MAX)) * (1 + text.size() / 64));
  return texts(split_from_right(text, separator, count), budget);
}

Value call_text_method(const std::string& text, const std::string& name, const Arguments& arguments, Budget& budget) {
  const auto one = [&] { return arguments.bind(name, {"value"})[0]; };
  const auto none = [&] { arguments.bind(name, {}); };
  if (name == "strip" || name == "lstrip" || name == "rstrip") return strip_text(text, name, arguments);
  if (name == "split" || name == "rsplit") return split_text(text, name, arguments, budget);
  if (name == "format") return Value::text(brace_format(text, arguments));
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex") {
    const int64_t at = find_text(text, name, arguments);
    if (at < 0 && name.ends_with("index")) throw Problem("substring not found");
    return Value(at);
  }
  if (name == "replace") {
    const auto bound = arguments.bind(name, {"old", "new", "count"});
    if (!bound[0] || !bound[1]) throw Problem("replace needs what to replace and by what");
    return replace_text(text, *bound[0], *bound[1], bound_of(bound[2]).value_or(-1), budget);
  }
  if (name == "startswith") return Value(has_affix(text, one(), true, name));
  if (name == "endswith") return Value(has_affix(text, one(), false, name));
  if (name == "removeprefix" || name == "removesuffix") {
    const auto argument = one();
    const std::string& affix = text_argument(argument, name);
    const bool at_start = name == "removeprefix";
    if (affix.empty() || !has_affix(text, argument, at_start, name)) return Value::text(text);
    return Value::text(at_start ? text.substr(affix.size()) : text.substr(0, text.size() - affix.size()));
  }
  if (name == "join") {
    const auto argument = one();
    if (!argument) throw Problem("join needs an argument");
    std::vector<std::string> pieces;
    const auto items = items_of(*argument);
    for (const Value& item : items->items) pieces.push_back(text_argument(item, "join item: an"));
    return join_texts(pieces, text, budget);
  }
  if (name == "count") {
    const auto argument = one();
    const std::string& part = text_argument(argument, name);
    if (part.empty()) return Value(static_cast<int64_t>(python::length(text)) + 1);
    budget.charge(search_steps(text, part));
    return Value(static_cast<int64_t>(python::split(text, part).size()) - 1);
  }
  if (name == "splitlines") {
    const auto keep = arguments.bind(name, {"keepends"})[0];
    return texts(split_lines(text, keep && truth(*keep)), budget);
  }
  if (is_other_text_method(name)) return call_other_text_method(text, name, arguments, budget);
  none();
  if (name == "lower") return Value::text(python::lower(text));
  if (name == "upper") return Value::text(python::upper(text));
  if (name == "title") return Value::text(python::title(text));
  if (name == "capitalize") return Value::text(python::capitalize(text));
  if (name == "isdigit") return Value(python::is_digit(text));
  return Value(!text.empty() && python::strip(text).empty());  // isspace
}

Value call_list_method(const List& list, const std::string& name, const Arguments& arguments) {
  const auto wanted = arguments.bind(name, {"value"})[0];
  if (!wanted) throw Problem(fmt::format("{} needs an argument", name));
  const auto is_wanted = [&](const Value& item) { return equal(item, *wanted); };
  if (name == "count")
    return Value(static_cast<int64_t>(std::count_if(list.items.begin(), list.items.end(), is_wanted)));
  const auto found = std::find_if(list.items.begin(), list.items.end(), is_wanted);
  if (found == list.items.end()) throw Problem(fmt::format("{} is not in list", to_repr(*wanted)));
  return Value(static_cast<int64_t>(found - list.items.begin()));
}

Value call_dict_method(const Dict& dict, const std::string& name, const Arguments& arguments) {
  if (name == "get") {
    const auto bound = arguments.bind(name, {"key", "default"});
    if (!bound[0]) throw Problem("get needs a key");
    require_defined(*bound[0]);
    const Value* found = find_key(dict, *bound[0]);
    return found ? *found : bound[1].value_or(Value());
  }
  if (!is_one_of(name, kDictMethods)) throw Problem(fmt::format("the dict method {} is not supported", name));
  arguments.bind(name, {});
  std::vector<Value> out;
  for (const auto& [key, value] : dict.items) {
    if (name == "items") {
      out.push_back(Value::list({key, value}, List::Form::kTuple));
    } else {
      out.push_back(name == "keys" ? key : value);
    }
  }
  return Value::list(std::move(out), List::Form::kView);
}

}  // namespace

uint64_t search_steps(const std::string& text, const std::string& part) {
  return 1 + text.size() / 64 + text.size() / 4096 * std::min(part.size(), text.size());
}

Value attribute_of(const Value& value, const std::string& name, const TemplateOptions& options) {
  require_defined(value);
  if (const auto* space = value.as<std::shared_ptr<Namespace>>()) {
    for (const auto& [key, item] : (*space)->items) {
      if (key == name) return item;
    }
    return Value(Undefined{fmt::format("the namespace has no attribute '{}'", name), options.strict_undefined});
  }
  if (has_method(value, name)) return Value(Method{std::make_shared<const Value>(value), name});
  if (const auto* loop = value.as<std::shared_ptr<Loop>>()) return loop_attribute(**loop, name, options);
  if (const Dict* dict = value.as_dict()) {
    if (const Value* found = find_key(*dict, Value::text(name))) return *found;
  }
  return Value(
      Undefined{fmt::format("'{} object' has no attribute '{}'", type_name(value), name), options.strict_undefined});
}

Value item_of(const Value& value, const Value& key, const TemplateOptions& options) {
  require_defined(value);
  require_defined(key);
  if (const Dict* dict = value.as_dict()) {
    if (const Value* found = find_key(*dict, key)) return *found;
  }
  if (key.as<int64_t>() || key.as<bool>()) {
    int64_t at = integer_of(key, "index");
    const List* list = value.as_list();
    if (list && list->form != List::Form::kGenerator && list->form != List::Form::kView) {
      const auto size = static_cast<int64_t>(list->items.size());
      if (at < 0) at += size;
      if (at >= 0 && at < size) return list->items[static_cast<size_t>(at)];
    } else if (const std::string* text = value.as_text()) {
      const auto characters = python::code_points(*text);
      const auto size = static_cast<int64_t>(characters.size());
      if (at < 0) at += size;
      if (at >= 0 && at < size) return Value::text(std::string(characters[static_cast<size_t>(at)]));
    }
  }
  if (key.as_text()) return attribute_of(value, *key.as_text(), options);
  return Value(
      Undefined{fmt::format("{} object has no element {}", type_name(value), to_repr(key)), options.strict_undefined});
}

Value call_method(const Value& object, const std::string& name, const Arguments& arguments, Budget& budget) {
  budget.charge(weight_of(object));
  for (const Value& argument : arguments.positional) budget.charge(weight_of(argument));
  if (const std::string* text = object.as_text()) {
    if (!arguments.positional.empty() && arguments.positional[0].as_text()) {
      budget.charge(search_steps(*text, *arguments.positional[0].as_text()));
    }
    return call_text_method(*text, name, arguments, budget);
  }
  if (const List* list = object.as_list()) return call_list_method(*list, name, arguments);
  if (const Dict* dict = object.as_dict()) return call_dict_method(*dict, name, arguments);
  if (const auto* loop = object.as<std::shared_ptr<Loop>>()) {
    if (arguments.positional.empty()) throw Problem("no items for cycling given");
    return arguments.positional[(*loop)->index0 % arguments.positional.size()];
  }
  throw Problem(fmt::format("'{}' has no method '{}'", type_name(object), name));
}

Value replace_text(const std::string& text, const Value& from, const Value& to, int64_t count, Budget& budget) {
  const std::string& old_part = text_argument(from, "replace");
  const std::string& new_part = text_argument(to, "replace");
  budget.charge(search_steps(text, old_part));
  const uint64_t most = old_part.empty() ? text.size() + 1 : text.size() / old_part.size();
  if (most * new_part.size() > kMaxTextBytes) {
    const uint64_t found = old_part.empty() ? most : python::split(text, old_part).size() - 1;
    if (found * new_part.size() > kMaxTextBytes) throw Problem("text above 64 MiB");
  }
  return Value::text(python::replace(text, old_part, new_part, count));
}

Value join_texts(const std::vector<std::string>& pieces, const std::string& separator, Budget& budget) {
  uint64_t bytes = 0;
  for (const std::string& piece : pieces) bytes += piece.size() + separator.size();
  if (bytes > kMaxTextBytes + separator.size()) throw Problem("text above 64 MiB");
  budget.charge(1 + bytes / 64);
  return Value::text(python::join(pieces, separator));
}

}  // namespace evalmpi::text::jinja

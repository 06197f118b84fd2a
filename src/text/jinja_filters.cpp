#include "jinja_filters.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "evalmpi/text/python.h"
#include "jinja_numbers.h"

namespace evalmpi::text::jinja {
namespace {

using Filter = Value (*)(const Value&, const Arguments&, Budget&);

int64_t integer_or(const std::optional<Value>& value, int64_t absent, std::string_view what) {
  return value && !value->is_none() ? integer_of(*value, what) : absent;
}

bool flag_or(const std::optional<Value>& value, bool absent) { return value ? truth(*value) : absent; }

// The value of a dotted attribute path ("a.b.0"), as map(attribute=...) and its kin read it.
Value attribute_path(const Value& item, const Value& path, const TemplateOptions& options) {
  if (path.as<int64_t>()) return item_of(item, path, options);
  Value value = item;
  for (const std::string& part : python::split(to_text(path), ".")) {
    const Value key = python::is_digit(part) ? Value(parse_integer(part).value_or(0)) : Value::text(part);
    value = item_of(value, key, options);
  }
  return value;
}

Value fold_case(const Value& value) { return value.as_text() ? Value::text(python::lower(*value.as_text())) : value; }

// What sort, min, max and unique compare: the item or its attribute, text without case unless asked.
std::vector<Value> sort_keys(const List& list, const std::optional<Value>& attribute, bool case_sensitive,
                             Budget& budget) {
  budget.charge(list.weight);
  std::vector<Value> keys;
  for (const Value& item : list.items) {
    Value key = attribute && !attribute->is_none() ? attribute_path(item, *attribute, budget.options()) : item;
    keys.push_back(case_sensitive ? std::move(key) : fold_case(key));
  }
  return keys;
}

Value filter_sort(const Value& subject, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind("sort", {"reverse", "case_sensitive", "attribute"});
  const auto list = items_of(subject);
  const bool reverse = flag_or(bound[0], false);
  const auto keys = sort_keys(*list, bound[2], flag_or(bound[1], false), budget);
  budget.charge(20 * list->weight);
  std::vector<size_t> order(keys.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return reverse ? less(keys[b], keys[a]) : less(keys[a], keys[b]); });
  std::vector<Value> out;
  for (const size_t i : order) out.push_back(list->items[i]);
  return Value::list(std::move(out));
}

Value extreme(const Value& subject, const Arguments& arguments, Budget& budget, bool largest) {
  const auto bound = arguments.bind(largest ? "max" : "min", {"case_sensitive", "attribute"});
  const auto list = items_of(subject);
  if (list->items.empty()) {
    return Value(Undefined{"no aggregated item, sequence was empty", budget.options().strict_undefined});
  }
  const auto keys = sort_keys(*list, bound[1], flag_or(bound[0], false), budget);
  size_t best = 0;
  for (size_t i = 1; i < keys.size(); ++i) {
    if (largest ? less(keys[best], keys[i]) : less(keys[i], keys[best])) best = i;
  }
  return list->items[best];
}

Value filter_unique(const Value& subject, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind("unique", {"case_sensitive", "attribute"});
  const auto list = items_of(subject);
  const auto keys = sort_keys(*list, bound[1], flag_or(bound[0], false), budget);
  std::vector<size_t> kept;
  std::vector<Value> out;
  for (size_t i = 0; i < keys.size(); ++i) {
    budget.charge(kept.size() + 1);
    if (std::any_of(kept.begin(), kept.end(), [&](size_t other) { return equal(keys[other], keys[i]); })) continue;
    kept.push_back(i);
    out.push_back(list->items[i]);
  }
  return Value::list(std::move(out), List::Form::kGenerator);
}

Value filter_map(const Value& subject, const Arguments& arguments, Budget& budget) {
  const auto list = items_of(subject);
  budget.charge(list->weight);
  std::vector<Value> out;
  if (arguments.positional.empty()) {
    const auto bound = arguments.bind("map", {"attribute", "default"});
    if (!bound[0]) throw Problem("map needs a filter or attribute=");
    for (const Value& item : list->items) {
      Value value = attribute_path(item, *bound[0], budget.options());
      out.push_back(value.is_undefined() && bound[1] ? *bound[1] : std::move(value));
    }
    return Value::list(std::move(out), List::Form::kGenerator);
  }
  const std::string name = to_text(arguments.positional[0]);
  if (!is_filter(name)) throw Problem(fmt::format("unknown or unsupported filter '{}'", name));
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin());
  for (const Value& item : list->items) out.push_back(apply_filter(name, item, rest, budget));
  return Value::list(std::move(out), List::Form::kGenerator);
}

// select, reject, selectattr, rejectattr.
Value select(const Value& subject, const Arguments& arguments, Budget& budget, bool by_attribute, bool wanted) {
  const auto list = items_of(subject);
  budget.charge(list->weight);
  Arguments rest = arguments;
  std::optional<Value> attribute;
  if (by_attribute) {
    if (rest.positional.empty()) throw Problem("selectattr and rejectattr need the name of an attribute");
    attribute = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  std::string test;
  if (!rest.positional.empty()) {
    test = to_text(rest.positional[0]);
    if (!is_test(test)) throw Problem(fmt::format("unknown or unsupported test '{}'", test));
    rest.positional.erase(rest.positional.begin());
  }
  std::vector<Value> out;
  for (const Value& item : list->items) {
    const Value value = attribute ? attribute_path(item, *attribute, budget.options()) : item;
    if ((test.empty() ? truth(value) : apply_test(test, value, rest, budget)) == wanted) out.push_back(item);
  }
  return Value::list(std::move(out), List::Form::kGenerator);
}

Value filter_join(const Value& subject, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind("join", {"d", "attribute"});
  const auto list = items_of(subject);
  budget.charge(list->weight);
  std::vector<std::string> pieces;
  for (const Value& item : list->items) {
    pieces.push_back(to_text(bound[1] ? attribute_path(item, *bound[1], budget.options()) : item));
  }
  return join_texts(pieces, bound[0] ? to_text(*bound[0]) : "", budget);
}

Value filter_sum(const Value& subject, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind("sum", {"attribute", "start"});
  const auto list = items_of(subject);
  Value total = bound[1].value_or(Value(int64_t{0}));
  for (const Value& item : list->items) {
    budget.charge(weight_of(total) + weight_of(item));
    total = arithmetic("+", total,
                       bound[0] && !bound[0]->is_none() ? attribute_path(item, *bound[0], budget.options()) : item);
  }
  return total;
}

Value filter_round(const Value& subject, const Arguments& arguments, Budget&) {
  const auto bound = arguments.bind("round", {"precision", "method"});
  const int64_t precision = integer_or(bound[0], 0, "precision");
  const std::string method = bound[1] ? to_text(*bound[1]) : "common";
  if (precision < 0 || precision > 30) throw Problem("round needs a precision from 0 to 30");
  const double number = number_of(subject, "operand of round");
  if (!std::isfinite(number)) throw Problem("cannot round a number that is not finite");
  if (method == "common") {
    if (!subject.as<double>()) return subject;
    return Value(std::stod(fmt::format("{:.{}f}", number, precision)));
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value(std::ceil(number * scale) / scale);
  if (method == "floor") return Value(std::floor(number * scale) / scale);
  throw Problem("round's method must be common, ceil or floor");
}

Value filter_int(const Value& subject, const Arguments& arguments, Budget&) {
  const auto bound = arguments.bind("int", {"default", "base"});
  require_usable(subject);
  const Value absent = bound[0].value_or(Value(int64_t{0}));
  if (integer_or(bound[1], 10, "base") != 10) throw Problem("int with a base other than 10 is not supported");
  if (subject.as<int64_t>() || subject.as<bool>()) return Value(integer_of(subject, "operand"));
  std::optional<double> number;
  if (const std::string* text = subject.as_text()) {
    if (const auto whole = parse_integer(*text)) return Value(*whole);
    number = parse_float(*text);
    if (number && !std::isfinite(*number)) return absent;
  } else if (const double* value = subject.as<double>()) {
    if (std::isinf(*value)) throw Problem("cannot convert float infinity to integer");
    if (!std::isnan(*value)) number = *value;
  }
  if (!number) return absent;
  if (std::abs(*number) >= 9.2e18) throw Problem("an integer leaves the range of int64");
  return Value(static_cast<int64_t>(*number));
}

Value filter_float(const Value& subject, const Arguments& arguments, Budget&) {
  const auto bound = arguments.bind("float", {"default"});
  require_usable(subject);
  if (subject.is_number()) return Value(number_of(subject, "operand"));
  if (subject.as_text()) {
    if (const auto number = parse_float(*subject.as_text())) return Value(*number);
  }
  return bound[0].value_or(Value(0.0));
}

Value filter_tojson(const Value& subject, const Arguments& arguments, Budget& budget) {
  const bool html_safe = budget.options().html_safe_json;
  const auto bound = html_safe ? arguments.bind("tojson", {"indent"})
                               : arguments.bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  const std::optional<Value>& indent = html_safe ? bound[0] : bound[1];
  python::JsonStyle style;
  style.indent = static_cast<int>(std::min<int64_t>(integer_or(indent, -1, "indent"), 64));
  style.sort_keys = html_safe || flag_or(bound[3], false);
  style.ensure_ascii = html_safe || flag_or(bound[0], false);
  if (!html_safe && bound[2] && !bound[2]->is_none()) throw Problem("tojson with separators is not supported");
  budget.charge(4 * weight_of(subject));
  std::string json = python::json_dumps(to_json(subject), style);
  if (html_safe) {
    json = python::replace(json, "<", "\\u003c");
    json = python::replace(json, ">", "\\u003e");
    json = python::replace(json, "&", "\\u0026");
    json = python::replace(json, "'", "\\u0027");
  }
  return Value::text(std::move(json));
}

Value filter_items(const Value& subject, const Arguments& arguments, Budget& budget) {
  arguments.bind("items", {});
  require_usable(subject);
  if (subject.is_undefined()) return Value::list({}, List::Form::kGenerator);
  if (!subject.as_dict()) throw Problem("can only get item pairs from a mapping");
  return call_method(subject, "items", {}, budget);
}

Value filter_dictsort(const Value& subject, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind("dictsort", {"case_sensitive", "by", "reverse"});
  const std::string by = bound[1] ? to_text(*bound[1]) : "key";
  if (by != "key" && by != "value") throw Problem("dictsort sorts by 'key' or 'value'");
  Arguments sorting;
  sorting.keywords.emplace_back("attribute", Value(int64_t{by == "key" ? 0 : 1}));
  sorting.keywords.emplace_back("case_sensitive", Value(flag_or(bound[0], false)));
  sorting.keywords.emplace_back("reverse", Value(flag_or(bound[2], false)));
  return filter_sort(filter_items(subject, {}, budget), sorting, budget);
}

// The filter title: words after space, hyphen and opening brackets start with a capital.
Value filter_title(const Value& subject, const Arguments& arguments, Budget&) {
  arguments.bind("title", {});
  const std::string text = to_text(subject);
  std::string out;
  std::string word;
  const auto end_word = [&] {
    const auto characters = python::code_points(word);
    if (!characters.empty()) {
      out += python::upper(characters[0]);
      out += python::lower(std::string_view(word).substr(characters[0].size()));
    }
    word.clear();
  };
  for (const std::string_view character : python::code_points(text)) {
    if (python::strip(character).empty() || std::string_view("-({[<").find(character) != std::string_view::npos) {
      end_word();
      out += character;
    } else {
      word += character;
    }
  }
  end_word();
  return Value::text(std::move(out));
}

Value filter_indent(const Value& subject, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind("indent", {"width", "first", "blank"});
  std::string indentation = "    ";
  if (bound[0]) {
    const bool is_text = bound[0]->as_text() != nullptr;
    const int64_t width = is_text ? 0 : integer_of(*bound[0], "width");
    if (width > 1000) throw Problem("indent is too wide");
    indentation = is_text ? *bound[0]->as_text() : std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  std::vector<std::string> lines = python::split(to_text(subject), "\n");
  if (lines.size() * (1 + indentation.size() / 64) > kMaxSteps / 4) throw Problem("text above 64 MiB");
  const bool blank = flag_or(bound[2], false);
  for (size_t i = 1; i < lines.size(); ++i) {
    if (blank || !lines[i].empty()) lines[i] = indentation + lines[i];
  }
  if (flag_or(bound[1], false)) lines[0] = indentation + lines[0];
  return join_texts(lines, "\n", budget);
}

Value filter_default(const Value& subject, const Arguments& arguments, Budget&) {
  const auto bound = arguments.bind("default", {"default_value", "boolean"});
  const bool missing = subject.is_undefined() || (flag_or(bound[1], false) && !truth(subject));
  return missing ? bound[0].value_or(Value::text("")) : subject;
}

Value filter_first_or_last(const Value& subject, bool first, const TemplateOptions& options) {
  const auto list = items_of(subject);
  if (!first && subject.as_list() && subject.as_list()->form == List::Form::kGenerator) {
    throw Problem("'generator' object is not reversible");
  }
  if (list->items.empty()) {
    return Value(
        Undefined{fmt::format("no {} item, sequence was empty", first ? "first" : "last"), options.strict_undefined});
  }
  return first ? list->items.front() : list->items.back();
}

Value filter_reverse(const Value& subject, const Arguments& arguments, Budget&) {
  arguments.bind("reverse", {});
  std::vector<Value> items = items_of(subject)->items;
  std::reverse(items.begin(), items.end());
  if (!subject.as_text()) return Value::list(std::move(items), List::Form::kGenerator);
  std::string out;
  for (const Value& item : items) out += *item.as_text();
  return Value::text(std::move(out));
}

Value filter_abs(const Value& subject, const Arguments& arguments, Budget&) {
  arguments.bind("abs", {});
  return number_of(subject, "operand of abs") < 0 ? negate(subject) : arithmetic("+", subject, Value(int64_t{0}));
}

Value filter_replace(const Value& subject, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind("replace", {"old", "new", "count"});
  if (!bound[0] || !bound[1]) throw Problem("replace needs what to replace and by what");
  const Value from = Value::text(to_text(*bound[0]));
  const Value to = Value::text(to_text(*bound[1]));
  return replace_text(to_text(subject), from, to, integer_or(bound[2], -1, "count"), budget);
}

Value filter_trim(const Value& subject, const Arguments& arguments, Budget&) {
  const auto bound = arguments.bind("trim", {"chars"});
  if (!bound[0] || bound[0]->is_none()) return Value::text(python::strip(to_text(subject)));
  return Value::text(python::strip(to_text(subject), to_text(*bound[0])));
}

Value filter_format(const Value& subject, const Arguments& arguments, Budget&) {
  if (!arguments.keywords.empty()) throw Problem("format with keywords is not supported");
  return Value::text(percent_format(to_text(subject), arguments.positional));
}

template <std::string (*kFunction)(std::string_view)>
Value filter_text(const Value& subject, const Arguments& arguments, Budget&) {
  arguments.bind("this filter", {});
  return Value::text(kFunction(to_text(subject)));
}

const std::unordered_map<std::string, Filter>& filters() {
  static const std::unordered_map<std::string, Filter> kFilters = [] {
    std::unordered_map<std::string, Filter> table{{"abs", filter_abs},
                                                  {"capitalize", filter_text<python::capitalize>},
                                                  {"default", filter_default},
                                                  {"dictsort", filter_dictsort},
                                                  {"float", filter_float},
                                                  {"format", filter_format},
                                                  {"indent", filter_indent},
                                                  {"int", filter_int},
                                                  {"items", filter_items},
                                                  {"join", filter_join},
                                                  {"lower", filter_text<python::lower>},
                                                  {"map", filter_map},
                                                  {"regex_replace", filter_regex_replace},
                                                  {"replace", filter_replace},
                                                  {"reverse", filter_reverse},
                                                  {"round", filter_round},
                                                  {"sort", filter_sort},
                                                  {"sum", filter_sum},
                                                  {"title", filter_title},
                                                  {"tojson", filter_tojson},
                                                  {"trim", filter_trim},
                                                  {"unique", filter_unique},
                                                  {"upper", filter_text<python::upper>},
                                                  {"wordcount", filter_wordcount}};
    table["d"] = filter_default;
    table["first"] = [](const Value& v, const Arguments& a, Budget& b) {
      a.bind("first", {});
      return filter_first_or_last(v, true, b.options());
    };
    table["last"] = [](const Value& v, const Arguments& a, Budget& b) {
      a.bind("last", {});
      return filter_first_or_last(v, false, b.options());
    };
    table["length"] = table["count"] = [](const Value& v, const Arguments& a, Budget&) {
      a.bind("length", {});
      return Value(length_of(v));
    };
    table["list"] = [](const Value& v, const Arguments& a, Budget&) {
      a.bind("list", {});
      return Value::list(items_of(v)->items);
    };
    table["string"] = [](const Value& v, const Arguments& a, Budget&) {
      a.bind("string", {});
      return Value::text(to_text(v));
    };
    table["max"] = [](const Value& v, const Arguments& a, Budget& b) { return extreme(v, a, b, true); };
    table["min"] = [](const Value& v, const Arguments& a, Budget& b) { return extreme(v, a, b, false); };
    table["select"] = [](const Value& v, const Arguments& a, Budget& b) { return select(v, a, b, false, true); };
    table["reject"] = [](const Value& v, const Arguments& a, Budget& b) { return select(v, a, b, false, false); };
    table["selectattr"] = [](const Value& v, const Arguments& a, Budget& b) { return select(v, a, b, true, true); };
    table["rejectattr"] = [](const Value& v, const Arguments& a, Budget& b) { return select(v, a, b, true, false); };
    return table;
  }();
  return kFilters;
}

}  // namespace

std::vector<std::optional<Value>> Arguments::bind(std::string_view callee,
                                                  const std::vector<std::string_view>& names) const {
  if (positional.size() > names.size()) {
    throw Problem(fmt::format("{} takes at most {} arguments, got {}", callee, names.size(), positional.size()));
  }
  std::vector<std::optional<Value>> out(positional.begin(), positional.end());
  out.resize(names.size());
  for (const auto& [name, value] : keywords) {
    const auto at = static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    if (at == names.size()) throw Problem(fmt::format("{} has no argument '{}'", callee, name));
    if (out[at]) throw Problem(fmt::format("{} got the argument '{}' twice", callee, name));
    out[at] = value;
  }
  return out;
}

bool is_filter(const std::string& name) { return filters().contains(name); }

Value apply_filter(const std::string& name, const Value& subject, const Arguments& arguments, Budget& budget) {
  budget.charge(weight_of(subject));
  return filters().at(name)(subject, arguments, budget);
}

}  // namespace evalmpi::text::jinja

#include "jinja_functions.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <limits>

#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace jinja {
namespace {

constexpr int64_t kMaxRange = 1'000'000;
constexpr int64_t kNotFixed = std::numeric_limits<int64_t>::min();
constexpr std::string_view kFunctions[] = {"range", "namespace", "dict", "raise_exception", "strftime_now"};

std::atomic<int64_t> fixed_now = kNotFixed;  // of strftime_now

// The local time, as datetime.now().strftime.
std::string call_strftime(const Arguments& arguments) {
  const auto bound = arguments.bind("strftime_now", {"format"});
  if (!bound[0] || !bound[0]->as_text()) throw Problem("strftime_now needs a format");
  // A letter behind the format tells an empty result from one that does not fit.
  const std::string format = *bound[0]->as_text() + "x";
  const int64_t fixed = fixed_now.load();
  const std::time_t now = fixed == kNotFixed ? std::time(nullptr) : fixed;
  std::tm local{};
  localtime_r(&now, &local);
  std::string text(16 * format.size() + 256, '\0');
  const size_t bytes = std::strftime(text.data(), text.size(), format.c_str(), &local);
  if (bytes == 0) throw Problem(fmt::format("strftime_now: the format '{}' is not supported", *bound[0]->as_text()));
  text.resize(bytes - 1);
  if (!is_valid_utf8(text)) throw Problem("strftime_now: the locale's names are not UTF-8");
  return text;
}

Value call_range(const Arguments& arguments, Budget& budget) {
  if (arguments.positional.empty()) throw Problem("range needs an argument");
  arguments.bind("range", {"start", "stop", "step"});
  int64_t bounds[3] = {0, 0, 1};
  if (arguments.positional.size() == 1) {
    bounds[1] = integer_of(arguments.positional[0], "range argument");
  } else {
    for (size_t i = 0; i < arguments.positional.size(); ++i)
      bounds[i] = integer_of(arguments.positional[i], "range argument");
  }
  const auto [start, stop, step] = bounds;
  if (step == 0) throw Problem("range step must not be zero");
  std::vector<Value> out;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(out.size()) == kMaxRange) throw Problem("a range above 1 million items");
    out.push_back(Value(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  budget.charge(out.size());
  return Value::list(std::move(out), List::Form::kView);
}

// dict(...) or namespace(...).
Value call_items(const std::string& name, const Arguments& arguments) {
  if (arguments.positional.size() > 1) throw Problem(fmt::format("{} takes at most one positional argument", name));
  std::vector<std::pair<Value, Value>> items;
  if (!arguments.positional.empty()) {
    const Dict* dict = arguments.positional[0].as_dict();
    if (!dict) throw Problem(fmt::format("{} needs a dict or keywords", name));
    items = dict->items;
  }
  for (const auto& [key, value] : arguments.keywords) {
    std::erase_if(items, [&](const auto& item) { return item.first.as_text() && *item.first.as_text() == key; });
    items.emplace_back(Value::text(key), value);
  }
  const Value dict = Value::dict(items);
  if (name == "dict") return dict;
  auto space = std::make_shared<Namespace>();
  for (const auto& [key, value] : items) space->items.emplace_back(to_text(key), value);
  return Value(std::move(space));
}

}  // namespace

bool is_function(std::string_view name) {
  return std::find(std::begin(kFunctions), std::end(kFunctions), name) != std::end(kFunctions);
}

Value call_function(const std::string& name, const Arguments& arguments, Budget& budget) {
  if (name == "raise_exception") {
    const auto bound = arguments.bind(name, {"message"});
    throw Problem(bound[0] ? to_text(*bound[0]) : "raise_exception was called");
  }
  if (name == "strftime_now") return Value::text(call_strftime(arguments));
  if (name == "range") return call_range(arguments, budget);
  return call_items(name, arguments);
}

}  // namespace jinja

void fix_strftime_now(int64_t unix_seconds) { jinja::fixed_now = unix_seconds; }

}  // namespace evalmpi::text

#pragma once

// Values inside a template while it renders: Python's objects, immutable but for namespaces.

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::text::jinja {

// What is wrong, without place; the renderer adds where and line.
class Problem : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline constexpr size_t kMaxTextBytes = size_t{64} << 20;
inline constexpr uint64_t kMaxSteps = 10'000'000;
inline constexpr int kMaxValueDepth = 200;

class Value;
struct Macro;

struct Undefined {
  std::string problem;  // "'x' is undefined"
  bool strict = true;
};
struct None {};

struct List {
  // What Python would hold: printing differs, and a generator has no length.
  enum class Form { kList, kTuple, kView, kGenerator };
  std::vector<Value> items;
  Form form = Form::kList;
  int depth = 1;
  uint64_t weight = 1;
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;
  int depth = 1;
  uint64_t weight = 1;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> items;
};

// What `loop` is inside a for statement.
struct Loop {
  std::shared_ptr<const List> list;
  size_t index0 = 0;
};

struct Function {
  std::string name;
};

// `object.name` where name is a method of the object's type.
struct Method {
  std::shared_ptr<const Value> object;
  std::string name;
};

class Value {
 public:
  using Text = std::shared_ptr<const std::string>;
  using Data = std::variant<Undefined, None, bool, int64_t, double, Text, std::shared_ptr<const List>,
                            std::shared_ptr<const Dict>, std::shared_ptr<Namespace>, std::shared_ptr<Loop>,
                            std::shared_ptr<const Macro>, Function, Method>;

  Value() : data_(None{}) {}
  template <typename T>
  requires(!std::is_same_v<std::decay_t<T>, Value>) explicit Value(T data) : data_(std::move(data)) {}

  static Value text(std::string text);
  static Value list(std::vector<Value> items, List::Form form = List::Form::kList);
  static Value dict(std::vector<std::pair<Value, Value>> items);
  static Value from_json(const Json& json);

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&data_);
  }
  bool is_undefined() const { return as<Undefined>() != nullptr; }
  bool is_none() const { return as<None>() != nullptr; }
  const std::string* as_text() const { return as<Text>() ? as<Text>()->get() : nullptr; }
  const List* as_list() const {
    return as<std::shared_ptr<const List>>() ? as<std::shared_ptr<const List>>()->get() : nullptr;
  }
  const Dict* as_dict() const {
    return as<std::shared_ptr<const Dict>>() ? as<std::shared_ptr<const Dict>>()->get() : nullptr;
  }
  bool is_number() const { return as<bool>() || as<int64_t>() || as<double>(); }

 private:
  Data data_;
};

// Python's name of the type, for messages: str, int, list ...
std::string type_name(const Value& value);

// About how many steps it takes to walk through the value once; at least 1.
uint64_t weight_of(const Value& value);

// Throws Problem when the value is a strict undefined, or when it is undefined at all.
void require_usable(const Value& value);
void require_defined(const Value& value);

// bool(value), str(value) (also what {{ }} prints), repr(value), len(value).
bool truth(const Value& value);
std::string to_text(const Value& value);
std::string to_repr(const Value& value);
int64_t length_of(const Value& value);

// int(value) of a bool or an int, nothing else.
int64_t integer_of(const Value& value, std::string_view what);
double number_of(const Value& value, std::string_view what);

// The items that iterating over the value gives: list items, dict keys, characters.
std::shared_ptr<const List> items_of(const Value& value);

bool equal(const Value& left, const Value& right);
// left < right as Python orders numbers, texts and lists; throws Problem for other pairs.
bool less(const Value& left, const Value& right, std::string_view sign = "<");
bool contains(const Value& container, const Value& item);
const Value* find_key(const Dict& dict, const Value& key);

// The operators + - * / // % ** on two values.
Value arithmetic(std::string_view sign, const Value& left, const Value& right);
Value negate(const Value& value);

// "%s and %.2f" % (a, b)
std::string percent_format(const std::string& pattern, const std::vector<Value>& arguments);

// The value as Json; throws Problem for what Json cannot hold.
Json to_json(const Value& value);

}  // namespace evalmpi::text::jinja

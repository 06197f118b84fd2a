#pragma once

#include <array>
#include <string>
#include <string_view>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"

namespace evalmpi::text {

// One component of tokenizer.json (a JSON object with a "type") and where it stands, so that every message says it.
class Component {
 public:
  Component(const Json& json, std::string where) : json_(&json), where_(std::move(where)) {
    if (!json.is_object()) fail(ExitCode::kBadInput, "{}: must be an object, not {}", where_, json.type_name());
  }

  const std::string& where() const { return where_; }
  const Json& json() const { return *json_; }
  bool has(const char* key) const { return json_->contains(key) && !(*json_)[key].is_null(); }
  const Json& get(const char* key) const {
    if (!has(key)) refuse(key, "is missing");
    return (*json_)[key];
  }
  [[noreturn]] void refuse(std::string_view key, std::string_view why) const {
    fail(ExitCode::kBadInput, "{}.{}: {}", where_, key, why);
  }

  // A value; `fallback` where the key is absent or null. FAILS: kBadInput on another type.
  bool boolean(const char* key, bool fallback) const {
    return has(key) ? typed(key, &Json::is_boolean, "true or false").get<bool>() : fallback;
  }
  std::string text(const char* key, std::string_view fallback) const {
    return has(key) ? typed(key, &Json::is_string, "a string").get<std::string>() : std::string(fallback);
  }
  double number(const char* key, double fallback) const {
    return has(key) ? typed(key, &Json::is_number, "a number").get<double>() : fallback;
  }
  std::string required_text(const char* key) const {
    return typed(key, &Json::is_string, "a string").get<std::string>();
  }
  int64_t count(const char* key, int64_t fallback) const {
    const double value = number(key, static_cast<double>(fallback));
    if (!(value >= 0 && value <= 1e6)) refuse(key, "must be between 0 and 1000000");
    return static_cast<int64_t>(value);
  }
  // The sub-components of a list.
  template <typename Visit>
  void for_each(const char* key, Visit visit) const {
    const Json& list = typed(key, &Json::is_array, "a list");
    for (size_t i = 0; i < list.size(); ++i) visit(Component(list[i], fmt::format("{}.{}[{}]", where_, key, i)));
  }

  std::string type() const { return required_text("type"); }

  // The row of `table` (entries with a `type`) that this component asks for. FAILS: kBadInput naming the supported
  // types.
  template <typename Row, size_t kRows>
  const Row& row(const std::array<Row, kRows>& table) const {
    std::string known;
    const std::string wanted = type();
    for (const Row& row : table) {
      if (row.type == wanted) return row;
      known += fmt::format("{}{}", known.empty() ? "" : ", ", row.type);
    }
    fail(ExitCode::kBadInput, "{}: type {} is not supported; these are: {}", where_, wanted, known);
  }

 private:
  const Json& typed(const char* key, bool (Json::*is)() const noexcept, std::string_view what) const {
    const Json& value = get(key);
    if (!(value.*is)()) refuse(key, fmt::format("must be {}, not {}", what, value.type_name()));
    return value;
  }

  const Json* json_;
  std::string where_;
};

}  // namespace evalmpi::text

#include "conform.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <unordered_map>

#include "date_text.h"
#include "evalmpi/base/error.h"

namespace evalmpi::data {
namespace {

constexpr size_t kMaxColumns = 10'000;
constexpr size_t kMaxCells = 200'000'000;

// The common type of the values seen at one place.
struct Shape {
  enum class Kind { kNull, kInteger, kFloat, kFlag, kText, kDate, kList, kObject, kMixed };
  Kind kind = Kind::kNull;
  std::unique_ptr<Shape> element;                 // kList
  std::vector<std::string> keys;                  // kObject, in order of first appearance
  std::unordered_map<std::string, Shape> values;  // kObject
};

Shape::Kind kind_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return Shape::Kind::kNull;
    case Json::value_t::number_integer: return Shape::Kind::kInteger;
    case Json::value_t::number_unsigned:
      return value.get<uint64_t>() <= INT64_MAX ? Shape::Kind::kInteger : Shape::Kind::kFloat;
    case Json::value_t::number_float: return Shape::Kind::kFloat;
    case Json::value_t::array: return Shape::Kind::kList;
    case Json::value_t::object: return Shape::Kind::kObject;
    case Json::value_t::boolean: return Shape::Kind::kFlag;
    default: return Shape::Kind::kText;
  }
}

bool has_keys(const Shape& shape, const Json& value) {
  if (value.size() != shape.keys.size()) return false;
  for (auto it = value.begin(); it != value.end(); ++it) {
    if (!shape.values.contains(it.key())) return false;
  }
  return true;
}

bool is_date(const Json& value) { return date_seconds(value.get_ref<const std::string&>()).has_value(); }

// Rows may lack columns; nested objects of different keys are no struct and stay as they are.
void learn(Shape& shape, const Json& value, Inference inference, bool is_row) {
  using Kind = Shape::Kind;
  Kind kind = kind_of(value);
  if (kind == Kind::kNull || shape.kind == Kind::kMixed) return;
  if (shape.kind == Kind::kNull) {
    if (kind == Kind::kText && inference == Inference::kArrow && is_date(value)) kind = Kind::kDate;
    shape.kind = kind;
    if (kind == Kind::kObject && !is_row && value.empty()) shape.kind = Kind::kMixed;
  } else if (shape.kind == Kind::kDate && kind == Kind::kText) {
    if (!is_date(value)) shape.kind = Kind::kText;
  } else if (shape.kind != kind) {
    const bool numbers = (shape.kind == Kind::kInteger || shape.kind == Kind::kFloat) &&
                         (kind == Kind::kInteger || kind == Kind::kFloat);
    shape.kind = numbers ? Kind::kFloat : Kind::kMixed;
  } else if (kind == Kind::kObject && !is_row && inference == Inference::kArrow && !has_keys(shape, value)) {
    shape.kind = Kind::kMixed;
  }
  if (shape.kind == Kind::kList) {
    if (!shape.element) shape.element = std::make_unique<Shape>();
    for (const Json& item : value) learn(*shape.element, item, inference, false);
  } else if (shape.kind == Kind::kObject) {
    for (auto it = value.begin(); it != value.end(); ++it) {
      const auto [at, is_new] = shape.values.try_emplace(it.key());
      if (is_new) shape.keys.push_back(it.key());
      learn(at->second, it.value(), inference, false);
    }
  }
}

bool has_keys_in_order(const Json& value, const std::vector<std::string>& keys) {
  if (value.size() != keys.size()) return false;
  size_t i = 0;
  for (auto it = value.begin(); it != value.end(); ++it, ++i) {
    if (it.key() != keys[i]) return false;
  }
  return true;
}

void apply(const Shape& shape, Json& value, size_t& cells, const std::string& where) {
  if (++cells > kMaxCells) fail(ExitCode::kBadInput, "{}: more than {} cells", where, kMaxCells);
  if (value.is_null()) return;
  if (shape.kind == Shape::Kind::kFloat && value.is_number_integer()) {
    value = value.get<double>();
  } else if (shape.kind == Shape::Kind::kDate) {
    value = timestamp_text(*date_seconds(value.get_ref<const std::string&>()), 1);
  } else if (shape.kind == Shape::Kind::kList) {
    for (Json& item : value) apply(*shape.element, item, cells, where);
  } else if (shape.kind == Shape::Kind::kObject) {
    if (!has_keys_in_order(value, shape.keys)) {
      std::unordered_map<std::string, Json*> members;
      for (auto it = value.begin(); it != value.end(); ++it) members[it.key()] = &it.value();
      cells += shape.keys.size();
      if (cells > kMaxCells) fail(ExitCode::kBadInput, "{}: more than {} cells", where, kMaxCells);
      Json::object_t ordered;
      ordered.reserve(shape.keys.size());
      for (const std::string& key : shape.keys) {
        const auto found = members.find(key);
        // The keys are distinct, so the search that emplace() makes is not needed.
        static_cast<Json::object_t::Container&>(ordered).emplace_back(
            key, found == members.end() ? Json() : std::move(*found->second));
      }
      value = std::move(ordered);
    }
    for (auto it = value.begin(); it != value.end(); ++it) apply(shape.values.at(it.key()), it.value(), cells, where);
  }
}

// Floats that are all whole, or missing, become integers.
void make_whole(std::vector<Json>& rows, const std::string& column) {
  const auto is_whole = [&](const Json& row) {
    const Json& value = row[column];
    if (value.is_null()) return true;
    return value.is_number_float() && std::abs(value.get<double>()) < 0x1p63 &&
           value.get<double>() == std::trunc(value.get<double>());
  };
  if (!std::all_of(rows.begin(), rows.end(), is_whole)) return;
  for (Json& row : rows) {
    if (row[column].is_number()) row[column] = static_cast<int64_t>(row[column].get<double>());
  }
}

}  // namespace

Table conform(std::vector<Json> rows, const std::string& where, Inference inference) {
  Shape shape;
  for (const Json& row : rows) {
    learn(shape, row, inference, true);
    if (shape.keys.size() > kMaxColumns) fail(ExitCode::kBadInput, "{}: more than {} columns", where, kMaxColumns);
  }
  size_t cells = 0;
  for (Json& row : rows) apply(shape, row, cells, where);
  if (inference == Inference::kPandas) {
    for (const std::string& column : shape.keys) make_whole(rows, column);
  }
  return {std::move(shape.keys), std::move(rows)};
}

}  // namespace evalmpi::data

#include "declared_types.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "evalmpi/base/error.h"

namespace evalmpi::data {
namespace {

constexpr int kMaxDepth = 50;

struct Feature {
  std::string dtype;                                     // string, int64, float32, bool ...; empty: left as it is
  std::map<std::string, int64_t> class_ids;              // of a ClassLabel
  std::shared_ptr<Feature> element;                      // of a list
  std::vector<std::pair<std::string, Feature>> members;  // of a struct
};

std::map<std::string, int64_t> class_ids_of(const Json& names) {
  std::map<std::string, int64_t> ids;
  if (names.is_array()) {
    for (const Json& name : names) ids.emplace(name.is_string() ? name.get<std::string>() : "", ids.size());
  } else if (names.is_object()) {
    for (auto it = names.begin(); it != names.end(); ++it) {
      if (it->is_string()) ids.emplace(it->get<std::string>(), std::atoll(it.key().c_str()));
    }
  }
  return ids;
}

Feature parse_feature(const Json& declared, int depth);

// [{name: x, dtype: string}, ...]
std::vector<std::pair<std::string, Feature>> parse_members(const Json& list, int depth) {
  std::vector<std::pair<std::string, Feature>> out;
  for (const Json& member : list) {
    if (member.is_object() && member.contains("name") && member["name"].is_string()) {
      out.emplace_back(member["name"].get<std::string>(), parse_feature(member, depth + 1));
    }
  }
  return out;
}

Feature list_of(Feature element) {
  Feature out;
  out.element = std::make_shared<Feature>(std::move(element));
  return out;
}

// What stands for a type: its name, {dtype, list, sequence, struct, class_label} or a list of members.
Feature parse_feature(const Json& declared, int depth) {
  Feature out;
  if (depth > kMaxDepth) return out;
  if (declared.is_string()) {
    out.dtype = declared.get<std::string>();
  } else if (declared.is_array()) {
    out.members = parse_members(declared, depth);
  } else if (!declared.is_object()) {
    return out;
  } else if (declared.contains("dtype")) {
    return parse_feature(declared["dtype"], depth + 1);
  } else if (declared.contains("class_label") && declared["class_label"].is_object()) {
    out.dtype = "class_label";
    out.class_ids = class_ids_of(declared["class_label"].value("names", Json()));
  } else if (declared.contains("struct")) {
    return parse_feature(declared["struct"], depth + 1);
  } else if (declared.contains("list")) {
    return list_of(parse_feature(declared["list"], depth + 1));
  } else if (declared.contains("sequence")) {
    // A sequence of structs is a struct of lists.
    Feature element = parse_feature(declared["sequence"], depth + 1);
    if (element.members.empty()) return list_of(std::move(element));
    for (auto& [name, member] : element.members) out.members.emplace_back(name, list_of(std::move(member)));
  }
  return out;
}

std::optional<double> number_in(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return {};
  const auto& text = value.get_ref<const std::string&>();
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

// A float as Arrow casts it to text: the shortest digits, without ".0"; an exponent from 1e+10 up and below 1e-6.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  if (value == 0) return std::signbit(value) ? "-0" : "0";
  char digits[64];
  const bool plain = std::abs(value) >= 1e-6 && std::abs(value) < 1e10;
  const auto end = std::to_chars(digits, digits + sizeof digits, value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific)
                       .ptr;
  std::string text(digits, end);
  // An exponent has no leading zero.
  if (const size_t e = text.find('e'); e != text.npos && text[e + 2] == '0') text.erase(e + 2, 1);
  return text;
}

void cast_to_text(Json& value) {
  if (value.is_boolean()) {
    value = value.get<bool>() ? "true" : "false";
  } else if (value.is_number_float()) {
    value = float_text(value.get<double>());
  } else if (value.is_number() || value.is_object()) {
    value = value.dump();
  }
}

bool cast_to_integer(Json& value) {
  if (value.is_number_integer()) return true;
  const auto number = value.is_boolean() ? std::optional<double>(value.get<bool>() ? 1 : 0) : number_in(value);
  if (!number || std::abs(*number) >= 0x1p63 || *number != std::trunc(*number)) return false;
  value = static_cast<int64_t>(*number);
  return true;
}

bool cast_to_flag(Json& value) {
  if (value.is_number()) value = value.get<double>() != 0;
  if (value.is_boolean()) return true;
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  const bool is_true = text == "true" || text == "True" || text == "1";
  if (!is_true && text != "false" && text != "False" && text != "0") return false;
  value = is_true;
  return true;
}

// False when the value cannot be of the declared type.
bool cast_scalar(Json& value, const Feature& feature) {
  const std::string& dtype = feature.dtype;
  if (dtype == "class_label") {
    if (!value.is_string()) return value.is_number_integer();
    const auto id = feature.class_ids.find(value.get<std::string>());
    if (id == feature.class_ids.end()) return cast_to_integer(value);
    value = id->second;
  } else if (dtype == "string" || dtype == "large_string") {
    cast_to_text(value);
  } else if (dtype == "bool") {
    return cast_to_flag(value);
  } else if (dtype.starts_with("int") || dtype.starts_with("uint")) {
    return cast_to_integer(value);
  } else if (dtype.starts_with("float")) {
    const auto number = number_in(value);
    if (!number) return false;
    value = dtype == "float32" ? static_cast<double>(static_cast<float>(*number)) : *number;
  }
  return true;
}

bool cast(Json& value, const Feature& feature);

bool cast_struct(Json& value, const Feature& feature) {
  if (!value.is_object()) return false;
  Json out = Json::object();
  size_t found = 0;
  for (const auto& [name, member] : feature.members) {
    const auto at = value.find(name);
    found += at != value.end() ? 1 : 0;
    Json item = at == value.end() ? Json() : std::move(*at);
    if (!cast(item, member)) return false;
    out[name] = std::move(item);
  }
  const bool all_declared = found == value.size();
  value = std::move(out);
  return all_declared;
}

bool cast(Json& value, const Feature& feature) {
  if (value.is_null()) return true;
  if (feature.element) {
    return value.is_array() &&
           std::all_of(value.begin(), value.end(), [&](Json& item) { return cast(item, *feature.element); });
  }
  return feature.members.empty() ? cast_scalar(value, feature) : cast_struct(value, feature);
}

std::string name_of(const Feature& feature) {
  return feature.element ? "a list" : !feature.members.empty() ? "a struct" : feature.dtype;
}

}  // namespace

void apply_declared_types(Table& table, const Json& features, const std::string& source) {
  if (!features.is_array()) return;
  const auto declared = parse_members(features, 0);
  // A description of other columns than the file has is out of date; the file is the truth.
  for (const std::string& column : table.columns) {
    const auto is_it = [&](const auto& entry) { return entry.first == column; };
    if (std::find_if(declared.begin(), declared.end(), is_it) == declared.end()) return;
  }
  if (declared.size() < table.columns.size()) return;
  table.columns.clear();
  for (const auto& [name, feature] : declared) table.columns.push_back(name);
  for (size_t i = 0; i < table.rows.size(); ++i) {
    Json row = Json::object();
    for (const auto& [name, feature] : declared) {
      const auto found = table.rows[i].find(name);
      Json value = found == table.rows[i].end() ? Json() : std::move(*found);
      if (!cast(value, feature)) {
        fail(ExitCode::kBadInput, "{}: row {}: column '{}' is declared {} and holds {}", source, i + 1, name,
             name_of(feature), value.is_structured() ? "another structure" : value.dump().substr(0, 80));
      }
      row[name] = std::move(value);
    }
    table.rows[i] = std::move(row);
  }
}

}  // namespace evalmpi::data

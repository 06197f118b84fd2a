#include "declared_types.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "evalmpi/base/error.h"

namespace evalmpi::data {
namespace {

struct Feature {
  std::string dtype;                         // string, int64, float32, bool ...; empty: left as it is
  std::map<std::string, int64_t> class_ids;  // of a ClassLabel
};

Feature parse_feature(const Json& declared) {
  Feature out;
  const Json dtype = declared.value("dtype", Json());
  if (dtype.is_string()) out.dtype = dtype.get<std::string>();
  if (!dtype.is_object() || !dtype.contains("class_label")) return out;
  const Json names = dtype["class_label"].value("names", Json());
  out.dtype = "class_label";
  if (names.is_array()) {
    for (const Json& name : names)
      out.class_ids.emplace(name.is_string() ? name.get<std::string>() : "", out.class_ids.size());
  } else if (names.is_object()) {
    for (auto it = names.begin(); it != names.end(); ++it) {
      if (it->is_string()) out.class_ids.emplace(it->get<std::string>(), std::atoll(it.key().c_str()));
    }
  }
  return out;
}

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

// False when the value cannot be of the declared type.
bool cast(Json& value, const Feature& feature) {
  if (value.is_null() || feature.dtype.empty()) return true;
  const std::string& dtype = feature.dtype;
  if (dtype == "class_label") {
    if (value.is_number_integer()) return true;
    if (!value.is_string()) return false;
    const auto& name = value.get_ref<const std::string&>();
    if (const auto id = feature.class_ids.find(name); id != feature.class_ids.end()) {
      value = id->second;
      return true;
    }
    const auto number = number_in(name);
    if (!number) return false;
    value = static_cast<int64_t>(*number);
    return true;
  }
  if (dtype == "string" || dtype == "large_string") {
    if (value.is_boolean()) value = value.get<bool>() ? "true" : "false";
    if (value.is_number()) value = value.dump();
    return true;
  }
  if (dtype.starts_with("int") || dtype.starts_with("uint")) {
    if (value.is_number_integer()) return true;
    const auto number = value.is_string()   ? number_in(value.get_ref<const std::string&>())
                        : value.is_number() ? std::optional<double>(value.get<double>())
                                            : std::nullopt;
    if (!number || *number != static_cast<double>(static_cast<int64_t>(*number))) return false;
    value = static_cast<int64_t>(*number);
    return true;
  }
  if (dtype.starts_with("float")) {
    const auto number = value.is_string()   ? number_in(value.get_ref<const std::string&>())
                        : value.is_number() ? std::optional<double>(value.get<double>())
                                            : std::nullopt;
    if (!number) return false;
    value = dtype == "float32" ? static_cast<double>(static_cast<float>(*number)) : *number;
  }
  return true;
}

}  // namespace

void apply_declared_types(Table& table, const Json& features, const std::string& source) {
  if (!features.is_array()) return;
  std::vector<std::pair<std::string, Feature>> declared;
  for (const Json& feature : features) {
    if (feature.is_object() && feature.contains("name") && feature["name"].is_string()) {
      declared.emplace_back(feature["name"].get<std::string>(), parse_feature(feature));
    }
  }
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
             feature.dtype, value.dump().substr(0, 80));
      }
      row[name] = std::move(value);
    }
    table.rows[i] = std::move(row);
  }
}

}  // namespace evalmpi::data

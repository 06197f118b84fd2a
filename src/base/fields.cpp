#include "evalmpi/base/fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "evalmpi/base/error.h"

namespace evalmpi {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& value, std::string_view expected) {
  fail(ExitCode::kUsage, "--{} {}: expected {}", name, value.empty() ? "\"\"" : value, expected);
}

int parse_integer(const std::string& name, const std::string& text, int least) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least) {
    refuse(name, text, fmt::format("a whole number of at least {}", least));
  }
  return value;
}

double parse_number(const std::string& name, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) refuse(name, text, "a number");
  return value;
}

void append_list(std::vector<std::string>& list, const std::string& text) {
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    if (comma > begin) list.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
}

template <typename T>
Json optional_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

}  // namespace

Field text_field(std::string name, std::string metavar, std::string& value, std::string help, Affects affects) {
  return {std::move(name),
          std::move(metavar),
          std::move(help),
          affects,
          false,
          false,
          [&value](const std::string& text) { value = text; },
          [&value] { return Json(value); }};
}

Field path_field(std::string name, std::string metavar, std::string& value, std::string help, Affects affects) {
  Field field = text_field(std::move(name), std::move(metavar), value, std::move(help), affects);
  field.is_path = true;
  return field;
}

Field list_field(std::string name, std::string metavar, std::vector<std::string>& value, std::string help,
                 Affects affects) {
  return {std::move(name),
          std::move(metavar),
          std::move(help),
          affects,
          false,
          true,
          [&value](const std::string& text) { append_list(value, text); },
          [&value] { return Json(value); }};
}

Field path_list_field(std::string name, std::string metavar, std::vector<std::string>& value, std::string help,
                      Affects affects) {
  return {std::move(name),
          std::move(metavar),
          std::move(help),
          affects,
          true,
          true,
          [&value](const std::string& text) { value.push_back(text); },
          [&value] { return Json(value); }};
}

Field switch_field(std::string name, bool& value, std::string help, Affects affects) {
  auto set = [name, &value](const std::string& text) {
    if (text != "true" && text != "false") refuse(name, text, "true or false");
    value = text == "true";
  };
  return {std::move(name), "",    std::move(help), affects,
          false,           false, std::move(set),  [&value] { return Json(value); }};
}

Field boolean_field(std::string name, std::optional<bool>& value, std::string help, Affects affects) {
  auto set = [name, &value](const std::string& text) {
    if (text == "true" || text == "True" || text == "1" || text == "yes") {
      value = true;
    } else if (text == "false" || text == "False" || text == "0" || text == "no") {
      value = false;
    } else {
      refuse(name, text, "true or false");
    }
  };
  Field field{std::move(name), "BOOL", std::move(help), affects,
              false,           false,  std::move(set),  [&value] { return optional_json(value); }};
  field.value_if_bare = "true";
  return field;
}

Field integer_field(std::string name, std::string metavar, int& value, int least, std::string help, Affects affects) {
  auto set = [name, &value, least](const std::string& text) { value = parse_integer(name, text, least); };
  return {std::move(name), std::move(metavar),
          std::move(help), affects,
          false,           false,
          std::move(set),  [&value] { return Json(value); }};
}

Field integer_field(std::string name, std::string metavar, std::optional<int>& value, int least, std::string help,
                    Affects affects) {
  auto set = [name, &value, least](const std::string& text) { value = parse_integer(name, text, least); };
  return {std::move(name), std::move(metavar),
          std::move(help), affects,
          false,           false,
          std::move(set),  [&value] { return optional_json(value); }};
}

Field number_field(std::string name, std::string metavar, std::optional<double>& value, std::string help,
                   Affects affects) {
  auto set = [name, &value](const std::string& text) { value = parse_number(name, text); };
  return {std::move(name), std::move(metavar),
          std::move(help), affects,
          false,           false,
          std::move(set),  [&value] { return optional_json(value); }};
}

Json to_json(const std::vector<Field>& fields) {
  Json object = Json::object();
  for (const Field& field : fields) object[field.name] = field.get();
  return object;
}

void set_from_json(const Json& values, std::vector<Field>& fields) {
  for (Field& field : fields) {
    const Json value = values.value(field.name, Json());
    if (value.is_null() || field.get() == value) continue;
    for (const Json& one : value.is_array() ? value : Json::array({value})) {
      const std::string text = one.is_string() ? one.get<std::string>() : one.dump();
      if (!text.empty()) field.set(text);
    }
  }
}

std::optional<std::string> nearest_name(std::string_view name, const std::vector<std::string>& names) {
  std::optional<std::string> best;
  size_t best_distance = std::max<size_t>(2, name.size() / 2);
  for (const std::string& candidate : names) {
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j < row.size(); ++j) {
        const size_t replaced = diagonal + (name[i - 1] != candidate[j - 1]);
        diagonal = row[j];
        row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
      }
    }
    if (row.back() <= best_distance && (row.back() < best_distance || !best)) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace evalmpi

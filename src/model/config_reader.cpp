#include "config_reader.h"

#include <limits>
#include <utility>

#include "evalmpi/base/error.h"

namespace evalmpi::model {
namespace {

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

}  // namespace

ConfigReader::ConfigReader(const Json& config, std::string where) : config_(config), where_(std::move(where)) {
  if (!config_.is_object()) fail(ExitCode::kBadInput, "{}: expected an object, found {}", where_, shown(config_));
}

bool ConfigReader::has(const char* key) const {
  const auto found = config_.find(key);
  return found != config_.end() && !found->is_null();
}

int64_t ConfigReader::integer(const char* key, int64_t lowest, int64_t highest) const {
  if (!has(key)) fail(ExitCode::kBadInput, "{}: \"{}\" is missing", where_, key);
  const Json& value = config_.at(key);
  const bool fits = value.is_number_unsigned()
                        ? value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())
                        : value.is_number_integer();
  if (!fits || value.get<int64_t>() < lowest || value.get<int64_t>() > highest) {
    fail(ExitCode::kBadInput, "{}: \"{}\" is {}; it must be a whole number from {} to {}", where_, key, shown(value),
         lowest, highest);
  }
  return value.get<int64_t>();
}

int64_t ConfigReader::integer_or(const char* key, int64_t fallback, int64_t lowest, int64_t highest) const {
  return has(key) ? integer(key, lowest, highest) : fallback;
}

double ConfigReader::number(const char* key, double lowest, double highest) const {
  if (!has(key)) fail(ExitCode::kBadInput, "{}: \"{}\" is missing", where_, key);
  const Json& value = config_.at(key);
  const double number = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
  if (!(number >= lowest && number <= highest)) {
    fail(ExitCode::kBadInput, "{}: \"{}\" is {}; it must be a number from {} to {}", where_, key, shown(value), lowest,
         highest);
  }
  return number;
}

double ConfigReader::number_or(const char* key, double fallback, double lowest, double highest) const {
  return has(key) ? number(key, lowest, highest) : fallback;
}

bool ConfigReader::flag_or(const char* key, bool fallback) const {
  if (!has(key)) return fallback;
  const Json& value = config_.at(key);
  if (!value.is_boolean()) {
    fail(ExitCode::kBadInput, "{}: \"{}\" is {}; it must be true or false", where_, key, shown(value));
  }
  return value.get<bool>();
}

std::string ConfigReader::text_or(const char* key, const char* fallback) const {
  if (!has(key)) return fallback;
  const Json& value = config_.at(key);
  if (!value.is_string()) fail(ExitCode::kBadInput, "{}: \"{}\" is {}; it must be a text", where_, key, shown(value));
  return value.get<std::string>();
}

ConfigReader ConfigReader::object(const char* key) const {
  if (!has(key)) fail(ExitCode::kBadInput, "{}: \"{}\" is missing", where_, key);
  return ConfigReader(config_.at(key), where_ + ", \"" + key + "\"");
}

}  // namespace evalmpi::model

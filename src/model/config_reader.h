#pragma once

// Fields of a config.json with their bounds. A null counts as missing, as in transformers.

#include <cstdint>
#include <string>

#include "evalmpi/base/json.h"

namespace evalmpi::model {

class ConfigReader {
 public:
  // config: an object that outlives this one; where: its name in messages. FAILS: kBadInput when it is no object.
  ConfigReader(const Json& config, std::string where);

  const std::string& where() const { return where_; }
  bool has(const char* key) const;
  // Also when it is null.
  bool mentions(const char* key) const { return config_.contains(key); }
  // FAIL (kBadInput, naming the key): missing without a fallback, of another type, outside [lowest, highest].
  int64_t integer(const char* key, int64_t lowest, int64_t highest) const;
  int64_t integer_or(const char* key, int64_t fallback, int64_t lowest, int64_t highest) const;
  double number(const char* key, double lowest, double highest) const;
  double number_or(const char* key, double fallback, double lowest, double highest) const;
  bool flag_or(const char* key, bool fallback) const;
  std::string text_or(const char* key, const char* fallback) const;
  ConfigReader object(const char* key) const;
  const Json& raw(const char* key) const { return config_.at(key); }

 private:
  const Json& config_;
  std::string where_;
};

}  // namespace evalmpi::model

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::text {

// Strings with ids, findable both ways.
class Vocabulary {
 public:
  // FAILS: kBadInput naming `where` if an id is negative, 2^22 or more, or taken.
  void add(std::string token, int64_t id, std::string_view where);
  std::optional<int32_t> find(std::string_view token) const;
  // Empty for an id without a token.
  std::string_view token(int32_t id) const;
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  int32_t end_id() const { return static_cast<int32_t>(tokens_.size()); }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> tokens_;  // by id
};

// The model part of tokenizer.json as it was read, before it is checked.
struct ModelFile {
  std::vector<std::pair<std::string, int64_t>> vocabulary;
  std::vector<double> scores;  // of Unigram's pieces, which are listed by id; empty for other models
  std::vector<std::pair<std::string, std::string>> merges;
  Json settings;  // all other keys of "model"
};

// The ids of <0x00> .. <0xFF>; -1 where the vocabulary lacks one.
std::vector<int32_t> byte_token_ids(const Vocabulary& vocabulary);

}  // namespace evalmpi::text

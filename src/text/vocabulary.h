#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::text {

// Strings with ids, findable both ways: one run of bytes and a table without pointers, since a million strings each on
// their own take a second to store and to free.
class Vocabulary {
 public:
  // FAILS: kBadInput naming `where` if an id is negative, 2^22 or more, or taken.
  void add(std::string_view token, int64_t id, std::string_view where);
  std::optional<int32_t> find(std::string_view token) const;
  // Empty for an id without a token. Holds until the next add; moving the vocabulary changes nothing.
  std::string_view token(int32_t id) const;
  int64_t size() const { return static_cast<int64_t>(count_); }
  int32_t end_id() const { return static_cast<int32_t>(places_.size()); }

 private:
  struct Place {
    size_t begin = 0;  // in bytes_
    uint32_t size = 0;
    bool taken = false;
  };
  struct Slot {
    uint32_t hash = 0;
    int32_t id = -1;  // -1: empty
  };
  Slot* slot_of(uint32_t hash, std::string_view token);
  void grow();

  std::vector<char> bytes_;
  std::vector<Place> places_;  // by id
  std::vector<Slot> slots_;    // open addressing, size a power of two
  size_t count_ = 0;
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

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vocabulary.h"

namespace evalmpi::text {

// Byte-pair encoding of one word: its characters, merged pair by pair, the pair of lowest rank and then the leftmost
// first.
class Bpe {
 public:
  // FAILS: kBadInput naming `where` and the key or the merge's number.
  Bpe(ModelFile file, std::string_view where);

  // Appends the ids of `word`, which is in the vocabulary's alphabet. O(n log n) in the word's length. Characters that
  // are unknown become unk_token, or bytes with byte_fallback, or nothing.
  void encode(std::string_view word, std::vector<int32_t>* ids) const;

  // Whether a word may be cut in front of every space mark (U+2581) that follows another character, since no merge
  // joins the two: encoding the pieces then gives the ids of the whole, and pieces repeat where whole texts do not.
  bool cuts_before_marks() const { return cuts_before_marks_; }

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  struct Merge {
    uint64_t pair = kEmpty;  // left id << 32 | right id
    uint32_t rank = 0;
    int32_t id = 0;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};

  const Merge* find_merge(int32_t left, int32_t right) const;
  void insert_merge(const Merge& merge);
  void read_merges(const std::vector<std::pair<std::string, std::string>>& merges, std::string_view where);
  void split_symbols(std::string_view word, std::vector<int32_t>* symbols) const;
  void merge_all(std::vector<int32_t>* symbols) const;

  Vocabulary vocabulary_;
  std::vector<Merge> merges_;  // open addressing, size a power of two
  std::optional<int32_t> unk_id_;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  bool cuts_before_marks_ = false;
  std::string continuing_prefix_;
  std::string word_suffix_;
  std::vector<int32_t> byte_ids_;   // of <0x00> .. <0xFF>; -1 where missing
  std::vector<int32_t> latin_ids_;  // of single characters below U+0200, where no prefix or suffix is in use
};

}  // namespace evalmpi::text

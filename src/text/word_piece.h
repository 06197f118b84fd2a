#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vocabulary.h"

namespace evalmpi::text {

// WordPiece, BERT's model: from the left, always the longest piece that the vocabulary holds; pieces behind the first
// carry a prefix ("##"). A word that cannot be written so, or that is too long, is unk_token.
class WordPiece {
 public:
  // FAILS: kBadInput naming `where`.
  WordPiece(ModelFile file, std::string_view where);
  // FAILS: kBadInput when unk_token is needed and not in the vocabulary.
  void encode(std::string_view word, std::vector<int32_t>* ids) const;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  std::string unk_token_;
  std::string prefix_;
  int64_t max_characters_ = 100;
  size_t longest_bytes_ = 0;
  std::string where_;
};

// Whole words, or unk_token.
class WordLevel {
 public:
  // FAILS: as WordPiece.
  WordLevel(ModelFile file, std::string_view where);
  void encode(std::string_view word, std::vector<int32_t>* ids) const;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  std::string unk_token_;
  std::string where_;
};

}  // namespace evalmpi::text

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vocabulary.h"

namespace evalmpi::text {

// The unigram model of SentencePiece: of all ways to write a word as pieces, the one with the greatest sum of scores.
// Follows Unigram of `tokenizers` 0.22, whose sums run from the left in float64 and whose ties go to the path found
// first.
class Unigram {
 public:
  // FAILS: kBadInput naming `where` on a score that is not finite, a piece of more than 2,048 bytes, unk_id out of
  // range.
  Unigram(ModelFile file, std::string_view where);

  // Appends the ids of `word`. Neighbouring unknown characters are one unknown piece: its bytes with byte_fallback,
  // else unk_id. FAILS: kBadInput on an unknown character when there is no unk_id.
  void encode(std::string_view word, std::vector<int32_t>* ids) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  struct Piece {
    std::string_view text;
    double score;
    int32_t id;
  };
  // The pieces that begin at a place: a range of the sorted list that narrows with every byte.
  template <typename Visit>
  void for_each_prefix(std::string_view text, Visit visit) const;
  void sort_pieces(const std::vector<double>& scores);
  void append_unknown(std::string_view text, std::vector<int32_t>* ids) const;

  Vocabulary vocabulary_;
  std::vector<Piece> sorted_;                  // by text, as bytes
  std::array<uint32_t, 257> first_of_byte_{};  // into sorted_
  double unknown_score_ = 0;
  std::optional<int32_t> unk_id_;
  bool byte_fallback_ = false;
  std::vector<int32_t> byte_ids_;
  std::string where_;
};

}  // namespace evalmpi::text

#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "bpe.h"
#include "unigram.h"
#include "word_piece.h"

namespace evalmpi::text {

// The "model" of tokenizer.json: turns one word into ids.
class Model {
 public:
  // The kind is settings.type; files of before 2020 name none and hold merges. FAILS: kBadInput naming `where`.
  Model(ModelFile file, std::string_view where);

  void encode(std::string_view word, std::vector<int32_t>* ids) const {
    std::visit([&](const auto& model) { model.encode(word, ids); }, model_);
  }
  const Vocabulary& vocabulary() const {
    return std::visit([](const auto& model) -> const Vocabulary& { return model.vocabulary(); }, model_);
  }
  // See Bpe::cuts_before_marks.
  bool cuts_before_marks() const {
    const Bpe* bpe = std::get_if<Bpe>(&model_);
    return bpe != nullptr && bpe->cuts_before_marks();
  }

 private:
  std::variant<Bpe, Unigram, WordPiece, WordLevel> model_;
};

}  // namespace evalmpi::text

#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "component.h"

namespace evalmpi::text {

// A part of the text on its way to the model. `at_start`: its first byte is the first of the whole text.
struct Piece {
  std::string_view text;
  bool at_start = false;
};

// The pieces of one text, and the storage of those that were rewritten.
struct Pieces {
  std::vector<Piece> list;
  std::deque<std::string> storage;
  std::vector<Piece> spare;  // the step's output, swapped with `list`

  std::string_view keep(std::string text) { return storage.emplace_back(std::move(text)); }
};

// The "pre_tokenizer" of tokenizer.json: steps that cut pieces into words.
class PreTokenizer {
 public:
  // Cuts one piece, appending its non-empty words to pieces.spare.
  using Step = std::function<void(const Piece&, Pieces*)>;

  // `json` may be null. `add_prefix_space` replaces the setting of a ByteLevel that stands alone.
  // FAILS: kBadInput naming `where`.
  static PreTokenizer parse(const Json& json, const std::string& where, bool add_prefix_space);

  void apply(Pieces* pieces) const;
  // Whether the words are raw bytes that the model has to see in ByteLevel's alphabet.
  bool ends_in_bytes() const { return ends_in_bytes_; }

 private:
  std::vector<Step> steps_;
  bool ends_in_bytes_ = false;
};

}  // namespace evalmpi::text

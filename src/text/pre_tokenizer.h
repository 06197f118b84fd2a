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

// What a step makes of one piece: non-empty pieces, and the storage of those that were rewritten.
struct Pieces {
  std::vector<Piece> list;
  std::deque<std::string> storage;

  std::string_view keep(std::string text) { return storage.emplace_back(std::move(text)); }
  void clear() {
    list.clear();
    if (!storage.empty()) storage.clear();
  }
};

// The "pre_tokenizer" of tokenizer.json: steps that cut a text into pieces, these into smaller ones and at last into
// words. What becomes of a piece depends on nothing but the piece and the steps that it has still to go.
class PreTokenizer {
 public:
  // Cuts one piece, appending to `pieces`.
  using Step = std::function<void(const Piece&, Pieces*)>;

  // `json` may be null. `add_prefix_space` replaces the setting of a ByteLevel that stands alone.
  // FAILS: kBadInput naming `where`.
  static PreTokenizer parse(const Json& json, const std::string& where, bool add_prefix_space);

  size_t step_count() const { return steps_.size(); }
  void apply_step(size_t index, const Piece& piece, Pieces* pieces) const { steps_[index](piece, pieces); }
  // Whether the words are raw bytes that the model has to see in ByteLevel's alphabet.
  bool ends_in_bytes() const { return ends_in_bytes_; }

 private:
  std::vector<Step> steps_;
  bool ends_in_bytes_ = false;
};

}  // namespace evalmpi::text

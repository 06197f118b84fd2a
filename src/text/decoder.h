#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "component.h"

namespace evalmpi::text {

// The "decoder" of tokenizer.json: steps that turn a list of tokens into a list of texts, which are then joined.
class Decoder {
 public:
  using Step = std::function<void(std::vector<std::string>*)>;

  // `json` may be null: tokens are then joined by spaces. FAILS: kBadInput naming `where`.
  static Decoder parse(const Json& json, const std::string& where);

  std::string apply(std::vector<std::string> tokens) const;
  // Whether it is ByteLevel alone: the text is then the concatenated bytes of the tokens, made valid.
  bool is_bytes() const { return is_bytes_; }

 private:
  std::vector<Step> steps_;
  bool is_bytes_ = false;
  std::string separator_;
};

// What transformers' clean_up_tokenization_spaces does to a decoded text: " ." becomes ".", " n't" becomes "n't".
// `contract_do_not`: also " do not" becomes " don't", as the WordPiece decoder has it.
std::string clean_up_spaces(std::string text, bool contract_do_not = false);

}  // namespace evalmpi::text

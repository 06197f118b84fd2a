#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "component.h"
#include "evalmpi/text/regex.h"

namespace evalmpi::text {

// {"String": "..."} or {"Regex": "..."} of tokenizer.json: where it occurs in a text.
class TextPattern {
 public:
  // Reads `owner`.pattern. FAILS: kBadInput.
  explicit TextPattern(const Component& owner);

  // The regular expression; empty for a plain string.
  const std::string& regex_text() const { return regex_text_; }
  // All occurrences from left to right; none overlap.
  void find_all(std::string_view text, std::vector<ByteRange>* found) const;
  // Every occurrence replaced by `content` as it stands.
  std::string replace_all(std::string_view text, std::string_view content) const;

 private:
  std::string plain_;
  std::string regex_text_;
  std::optional<Regex> regex_;
};

}  // namespace evalmpi::text

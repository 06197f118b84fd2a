#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace evalmpi::text {

// The rewriting rules that a SentencePiece model carries (normalizer_spec.precompiled_charsmap): a double-array trie of
// what is replaced, and the replacements. Applied as `tokenizers`' Precompiled does, which looks at grapheme clusters
// first and takes the shortest rule that begins one.
class Charsmap {
 public:
  // The bytes of the map. FAILS: kBadInput naming `where` when it is cut short or not UTF-8.
  Charsmap(std::string_view bytes, const std::string& where);

  // FAILS: kBadInput when a rule points outside of the map.
  std::string apply(std::string_view text) const;

 private:
  std::optional<std::string_view> rule_of(std::string_view part) const;
  uint32_t unit(size_t position) const;
  void append_cluster(std::string_view cluster, std::string* out) const;

  std::vector<uint32_t> units_;
  std::string replacements_;       // each ends in a zero byte
  std::array<bool, 128> plain_{};  // ASCII characters without a rule
  std::string where_;
};

}  // namespace evalmpi::text

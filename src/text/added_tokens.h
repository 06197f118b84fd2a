#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace evalmpi::text {

struct AddedToken {
  std::string content;
  bool special = false;
  bool normalized = true;    // matched after the normalizer has run
  bool left_strip = false;   // takes white space on its left
  bool right_strip = false;  // takes white space on its right
  bool single_word = false;  // only between characters that are not \w
  bool operator==(const AddedToken&) const = default;
};

// A part of a text: an added token, or text between such (id < 0).
struct TextPart {
  int32_t id = -1;
  size_t begin = 0;
  size_t end = 0;
};

// Finds the longest of a set of strings at a position: a trie over bytes.
class StringMatcher {
 public:
  StringMatcher();
  void insert(std::string_view content, int32_t id);
  struct Match {
    size_t begin;
    size_t end;
    int32_t id;
  };
  // The leftmost match at or after `from`, the longest there.
  std::optional<Match> find(std::string_view text, size_t from) const;

 private:
  struct Node {
    std::map<unsigned char, uint32_t> children;
    int32_t id = -1;
  };
  std::vector<Node> nodes_;
  // Which first bytes, first two bytes and lone bytes can begin a match, so that most positions need no search.
  std::bitset<256> starts_;
  std::bitset<256> alone_;
  std::bitset<256 * 256> pairs_;
};

// Tokens beside the model's vocabulary, cut out of a text before the model sees it. The order of calls is add ...,
// build, then the const functions. Follows AddedVocabulary of `tokenizers` 0.22.
class AddedTokens {
 public:
  using Lookup = std::function<std::optional<int32_t>(std::string_view)>;

  // Adds a token, or gives a known one other properties. A token that is in the model's vocabulary keeps its id; others
  // get the next free one.
  void add(const AddedToken& token, const Lookup& model_id, int64_t model_size);

  // Prepares matching; `normalize` is the tokenizer's normalizer.
  void build(const std::function<std::string(std::string_view)>& normalize);

  // Cuts `text`, before (normalized false) or after the normalizer, into tokens and what is between; appends to
  // `parts`.
  void split(std::string_view text, bool normalized, std::vector<TextPart>* parts) const;

  std::optional<int32_t> id_of(std::string_view content) const;
  const AddedToken* find(int32_t id) const;
  bool is_special(std::string_view content) const { return special_contents_.count(std::string(content)) != 0; }
  const std::map<int32_t, AddedToken>& by_id() const { return by_id_; }

 private:
  std::vector<AddedToken> listed_special_;
  std::vector<AddedToken> listed_;
  std::unordered_set<std::string> special_contents_;
  std::unordered_map<std::string, int32_t> ids_;
  std::map<int32_t, AddedToken> by_id_;
  StringMatcher plain_;
  StringMatcher normalized_;
};

}  // namespace evalmpi::text

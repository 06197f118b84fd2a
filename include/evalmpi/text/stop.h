#pragma once

// Text that grows token by token, and the strings that end it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/text/tokenizer.h"

namespace evalmpi::text {

// Decodes ids one after the other. At any time finish() is Tokenizer::decode of all ids so far; text() is the part of
// it that later ids cannot change, so that a stop string found there is found for good.
class TextStream {
 public:
  TextStream(Tokenizer tokenizer, bool skip_special_tokens);

  void push(int32_t id);
  // Settled text: characters whose last bytes are still to come, and spaces that cleaning up might remove, are held
  // back.
  const std::string& text() const { return text_; }
  // decode() of all ids.
  std::string finish() const;
  const std::vector<int32_t>& ids() const { return ids_; }

 private:
  void push_bytes(int32_t id);
  void push_token(int32_t id);
  void settle(std::string_view decoded);

  Tokenizer tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> ids_;
  std::string bytes_;                // of a character that is not complete yet
  std::vector<int32_t> window_;      // ids that are decoded together
  size_t window_settled_bytes_ = 0;  // of the window's text
  std::string uncleaned_;            // decoded text that cleaning up may still change
  size_t cleaned_bytes_ = 0;         // of text_ that come from before uncleaned_
  std::string text_;
};

// Watches a text grow for the first occurrence of any of some strings; empty strings are ignored.
class StopFinder {
 public:
  explicit StopFinder(std::vector<std::string> stops);

  // Where the earliest stop string begins, given the whole text so far, which only ever grew since the last call.
  std::optional<size_t> find(std::string_view text);

 private:
  std::vector<std::string> stops_;
  size_t longest_ = 0;
  size_t searched_ = 0;
};

// What lm-evaluation-harness leaves of a generation: the text cut at the first occurrence of each stop string, one
// after the other.
std::string cut_at_stops(std::string text, const std::vector<std::string>& stops);

}  // namespace evalmpi::text

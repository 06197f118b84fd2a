#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "class_pattern.h"
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
  // Calls visit(ByteRange) for each occurrence from left to right; none overlap.
  template <typename Visit>
  void for_each(std::string_view text, Visit visit) const {
    if (classes_) {
      uint64_t work = 0;
      for (ByteRange range{0, 0}; classes_->next(text, range.end, &range, &work);) visit(range);
    } else if (regex_) {
      RegexScan scan(*regex_, text);
      for (ByteRange range; scan.next(&range);) visit(range);
    } else if (!plain_.empty()) {
      for (size_t at = text.find(plain_); at != std::string_view::npos; at = text.find(plain_, at + plain_.size()))
        visit(ByteRange{at, at + plain_.size()});
    }
  }
  // Every occurrence replaced by `content` as it stands.
  std::string replace_all(std::string_view text, std::string_view content) const;

 private:
  std::string plain_;
  std::string regex_text_;
  std::optional<Regex> regex_;
  std::optional<ClassPattern> classes_;  // the same pattern, where it is of that shape
};

}  // namespace evalmpi::text

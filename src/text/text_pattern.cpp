#include "text_pattern.h"

namespace evalmpi::text {

TextPattern::TextPattern(const Component& owner) {
  const Json& pattern = owner.get("pattern");
  if (!pattern.is_object() || pattern.size() != 1 || !pattern.begin()->is_string())
    owner.refuse("pattern", R"(must be {"String": "..."} or {"Regex": "..."})");
  if (pattern.contains("String")) {
    plain_ = pattern["String"].get<std::string>();
  } else if (pattern.contains("Regex")) {
    regex_text_ = pattern["Regex"].get<std::string>();
    regex_ = Regex::compile(regex_text_, owner.where() + ".pattern", RegexDialect::kOniguruma);
  } else {
    owner.refuse("pattern", R"(must be {"String": "..."} or {"Regex": "..."})");
  }
}

void TextPattern::find_all(std::string_view text, std::vector<ByteRange>* found) const {
  found->clear();
  if (regex_) {
    RegexScan scan(*regex_, text);
    for (ByteRange range; scan.next(&range);) found->push_back(range);
    return;
  }
  if (plain_.empty()) return;
  for (size_t at = text.find(plain_); at != std::string_view::npos; at = text.find(plain_, at + plain_.size()))
    found->push_back({at, at + plain_.size()});
}

std::string TextPattern::replace_all(std::string_view text, std::string_view content) const {
  std::vector<ByteRange> found;
  find_all(text, &found);
  std::string out;
  size_t done = 0;
  for (const ByteRange& range : found) {
    out += text.substr(done, range.begin - done);
    out += content;
    done = range.end;
  }
  out += text.substr(done);
  return out;
}

}  // namespace evalmpi::text

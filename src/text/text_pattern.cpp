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
    classes_ = ClassPattern::compile(regex_text_, owner.where() + ".pattern");
  } else {
    owner.refuse("pattern", R"(must be {"String": "..."} or {"Regex": "..."})");
  }
}

std::string TextPattern::replace_all(std::string_view text, std::string_view content) const {
  std::string out;
  size_t done = 0;
  for_each(text, [&](const ByteRange& range) {
    out += text.substr(done, range.begin - done);
    out += content;
    done = range.end;
  });
  out += text.substr(done);
  return out;
}

}  // namespace evalmpi::text

#include "regex_dialect.h"

#include <algorithm>
#include <array>

#include "evalmpi/base/error.h"
#include "unicode_additions.h"

namespace evalmpi::text {
namespace {

// White_Space; Python adds the four information separators. PCRE2's own \s would add U+180E.
constexpr std::string_view kOnigurumaSpace =
    R"(\x09-\x0d\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kPythonSpace =
    R"(\x09-\x0d\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kOnigurumaNotSpace =
    R"(\x00-\x08\x0e-\x1f\x21-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kPythonNotSpace =
    R"(\x00-\x08\x0e-\x1b\x21-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kPythonWord = R"(\p{L}\p{N}_)";
// Names of more than two letters after \p that are no scripts.
constexpr std::array<std::string_view, 8> kNoScripts = {"Alphabetic", "Uppercase",   "Lowercase", "White_Space",
                                                        "Any",        "Ideographic", "Emoji",     "Dash"};
// Letters and digits that may follow a backslash in Python's re.
constexpr std::string_view kPythonEscapes = "AbBdDsSwWZafnrtvxuU0123456789";

bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

class Rewriter {
 public:
  Rewriter(std::string_view pattern, std::string_view where, RegexDialect dialect)
      : pattern_(pattern), where_(where), python_(dialect == RegexDialect::kPython) {}

  RewrittenPattern run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape_outside();
      } else if (c == '[') {
        bracket();
      } else if (c == '(') {
        parenthesis();
      } else if (c == '{') {
        brace();
      } else if (c == '#' && extended_) {
        while (at_ < pattern_.size() && pattern_[at_] != '\n') copy(1);
      } else {
        copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(size_t position, std::string_view why) const {
    fail(ExitCode::kBadInput, "{}: pattern '{}': {} at byte {}", where_, pattern_, why, position);
  }
  bool starts(std::string_view text, size_t ahead = 0) const {
    return pattern_.substr(std::min(at_ + ahead, pattern_.size())).starts_with(text);
  }
  char peek(size_t ahead) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  void emit(std::string_view text) {
    out_.text += text;
    out_.origin.insert(out_.origin.end(), text.size(), at_);
  }
  void copy(size_t bytes) {
    for (const size_t end = std::min(at_ + bytes, pattern_.size()); at_ < end; ++at_) emit(pattern_.substr(at_, 1));
  }

  // \u0041, \U00000041 (Python) as \x{41}.
  void hex_escape(size_t digits) {
    for (size_t i = 0; i < digits; ++i) {
      if (!is_hex(peek(2 + i))) refuse(at_, "incomplete escape");
    }
    emit("\\x{");
    emit(pattern_.substr(at_ + 2, digits));
    emit("}");
    at_ += 2 + digits;
  }

  // \p{L} and its like: PCRE2's tables plus what newer Unicode versions assigned, so that both engines agree.
  bool property(bool in_bracket) {
    const size_t close = pattern_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos) return false;
    std::string_view name = pattern_.substr(at_ + 3, close - at_ - 3);
    bool negative = pattern_[at_ + 1] == 'P';
    if (name.starts_with('^')) {
      negative = !negative;
      name.remove_prefix(1);
    }
    if (negative && in_bracket) return false;
    if (!in_bracket) emit(negative ? "[^" : "[");
    emit("\\p{");
    // Without sc: PCRE2 reads a script as its extensions.
    const bool script = name.size() > 2 && std::find(kNoScripts.begin(), kNoScripts.end(), name) == kNoScripts.end();
    if (script) emit("sc:");
    emit(name);
    emit("}");
    emit(added_ranges(name));
    if (!in_bracket) emit("]");
    at_ = close + 1;
    return true;
  }

  // What a class escape holds, written for the inside of brackets; empty when `c` is no class.
  std::string_view class_contents(char c) const {
    switch (c) {
      case 's': return python_ ? kPythonSpace : kOnigurumaSpace;
      case 'S': return python_ ? kPythonNotSpace : kOnigurumaNotSpace;
      case 'd': return digits_;
      case 'D': return R"(\P{Nd})";
      case 'w': return word_;
      case 'h': return python_ ? "" : "0-9A-Fa-f";
      default: return "";
    }
  }

  void escape_outside() {
    const char c = peek(1);
    if (at_ + 1 >= pattern_.size()) refuse(at_, "a backslash ends the pattern");
    check_escape(c);
    if (c == 'W' || c == 'S' || c == 'H' || c == 'D') {
      const std::string_view contents = class_contents(static_cast<char>(c + ('a' - 'A')));
      if (!contents.empty()) return class_outside("[^", contents);
    }
    if (const std::string_view contents = class_contents(c); !contents.empty()) return class_outside("[", contents);
    if (common_escape(c)) return;
    if ((c == 'p' || c == 'P') && property(false)) return;
    if (c == 'Z' && python_) {
      emit("\\z");
      at_ += 2;
      return;
    }
    copy(2);
  }
  void class_outside(std::string_view open, std::string_view contents) {
    emit(open);
    emit(contents);
    emit("]");
    at_ += 2;
  }
  void check_escape(char c) const {
    if (python_ && is_ascii_letter(c) && kPythonEscapes.find(c) == std::string_view::npos)
      refuse(at_, fmt::format("Python's re knows no escape \\{}", c));
  }
  // Escapes that mean one character, the same inside and outside of brackets.
  bool common_escape(char c) {
    if (c == 'v') {
      emit("\\x0b");
      at_ += 2;
      return true;
    }
    if (c == 'u' || (c == 'U' && python_)) {
      hex_escape(c == 'u' ? 4 : 8);
      return true;
    }
    return false;
  }

  void bracket() {
    const size_t opened = at_;
    copy(1);
    if (peek(0) == '^') copy(1);
    if (peek(0) == ']') {
      emit("\\");
      copy(1);
    }
    Item before = Item::kNone;
    while (at_ < pattern_.size() && (pattern_[at_] != ']' || nested_ > 0)) before = bracket_item(before);
    if (at_ >= pattern_.size()) refuse(opened, "unterminated character set");
    copy(1);
  }
  // What stands before the next item of a set, as far as a hyphen asks.
  enum class Item { kNone, kLiteral, kRangeHyphen, kClass };

  // Copies one item and returns it. A hyphen that opens no range is escaped, since a class beside it may become ranges.
  Item bracket_item(Item before) {
    const char c = pattern_[at_];
    const Item literal = before == Item::kRangeHyphen ? Item::kNone : Item::kLiteral;
    if (c == '\\') {
      if (!escape_inside()) return literal;
      if (before == Item::kRangeHyphen) refuse(at_, "bad character range");
      return Item::kClass;
    }
    if (c == '[') {
      bracket_in_bracket();
      return python_ ? literal : Item::kClass;
    }
    if (c == ']') {  // of a set inside: its items are part of the set around it
      --nested_;
      ++at_;
      return Item::kClass;
    }
    if (!python_ && starts("&&")) refuse(at_, "set intersection (&&) is not supported");
    if (c == '-' && peek(1) != ']') {
      if (before == Item::kClass && python_) refuse(at_, "bad character range");
      if (before == Item::kLiteral) {
        copy(1);
        return Item::kRangeHyphen;
      }
      emit("\\");
    }
    copy(1);
    return literal;
  }
  // Returns whether a class (not one character) was written.
  bool escape_inside() {
    const char c = peek(1);
    if (at_ + 1 >= pattern_.size()) refuse(at_, "a backslash ends the pattern");
    check_escape(c);
    if (const std::string_view contents = class_contents(c); !contents.empty()) {
      emit(contents);
      at_ += 2;
      return true;
    }
    if (common_escape(c)) return false;
    if (c == 'p' || c == 'P') {
      if (property(true)) return true;
      const size_t close = pattern_.find('}', at_);
      copy(peek(2) == '{' && close != std::string_view::npos ? close + 1 - at_ : 2);
      return true;
    }
    copy(2);
    return c == 'W';
  }
  void bracket_in_bracket() {
    if (python_) {
      emit("\\");
      copy(1);
      return;
    }
    const size_t close = pattern_.find(":]", at_);
    if (peek(1) == ':' && close != std::string_view::npos) return copy(close + 2 - at_);
    if (peek(1) == '^' || peek(1) == ']') refuse(at_, "a negated or empty set inside a set is not supported");
    ++nested_;
    ++at_;
  }

  void parenthesis() {
    if (peek(1) == '*') refuse(at_ + 1, "nothing to repeat");
    if (peek(1) != '?') return copy(1);
    if (peek(2) == '#') {
      while (at_ < pattern_.size() && pattern_[at_] != ')') copy(1);
      return;
    }
    size_t end = at_ + 2;
    while (end < pattern_.size() && (is_ascii_letter(pattern_[end]) || pattern_[end] == '-')) ++end;
    const bool flags = end > at_ + 2 && end < pattern_.size() && (pattern_[end] == ':' || pattern_[end] == ')');
    if (!flags) {
      constexpr std::array<std::string_view, 9> kPythonGroups = {"(?:",  "(?P<", "(?P=", "(?=", "(?!",
                                                                 "(?<=", "(?<!", "(?(",  "(?>"};
      if (python_ &&
          std::none_of(kPythonGroups.begin(), kPythonGroups.end(), [&](auto group) { return starts(group); }))
        refuse(at_, "unknown extension of (?");
      return copy(2);
    }
    copy(2);
    bool on = true;
    while (at_ < end) {
      const char c = pattern_[at_];
      if (c == '-') on = false;
      if (c == 'x') extended_ = on;
      if (python_ && (c == 'a' || c == 'L')) refuse(at_, "the flags a and L are not supported");
      if (python_ && c == 'u') {
        ++at_;
      } else if (!python_ && c == 'm') {
        emit("s");
        ++at_;
      } else {
        copy(1);
      }
    }
    copy(1);
  }

  // {,n} is {0,n}; PCRE2 10.42 takes it literally.
  void brace() {
    copy(1);
    size_t end = at_ + 1;
    while (end < pattern_.size() && pattern_[end] >= '0' && pattern_[end] <= '9') ++end;
    if (peek(0) == ',' && end < pattern_.size() && pattern_[end] == '}' && (python_ || end > at_ + 1)) emit("0");
  }

  std::string_view pattern_;
  std::string_view where_;
  bool python_;
  // Oniguruma's tables are newer than PCRE2's.
  std::string digits_ = python_ ? std::string(R"(\p{Nd})") : fmt::format(R"(\p{{Nd}}{})", added_ranges("Nd"));
  std::string word_ =
      python_
          ? std::string(kPythonWord)
          : fmt::format(R"(\p{{Alphabetic}}\p{{M}}\p{{Nd}}\p{{Pc}}\x{{b2}}\x{{b3}}\x{{b9}}\x{{bc}}-\x{{be}}{}{}{}{})",
                        added_ranges("L"), added_ranges("M"), added_ranges("Nd"), added_ranges("Pc"));
  bool extended_ = false;
  int nested_ = 0;  // open sets inside of a set
  size_t at_ = 0;
  RewrittenPattern out_;
};

}  // namespace

RewrittenPattern rewrite_pattern(std::string_view pattern, std::string_view where, RegexDialect dialect) {
  return Rewriter(pattern, where, dialect).run();
}

}  // namespace evalmpi::text

#include "regex_replacement.h"

#include <algorithm>

#include "evalmpi/base/error.h"
#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

class ReplacementReader {
 public:
  ReplacementReader(const Regex& regex, std::string_view text) : regex_(regex), text_(text) {}

  std::vector<ReplacementPart> run() {
    while (at_ < text_.size()) {
      if (text_[at_] != '\\') {
        literal(text_[at_++]);
      } else {
        if (at_ + 1 == text_.size()) refuse("a backslash at its end");
        escape(text_[at_ + 1]);
      }
    }
    return std::move(parts_);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    fail(ExitCode::kBadInput, "replacement '{}' for pattern '{}': {} at byte {}", text_, regex_.pattern(), why, at_);
  }
  static bool digit(char c, char last = '9') { return c >= '0' && c <= last; }
  char peek(size_t ahead) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void literal(char c) {
    if (parts_.empty() || parts_.back().group != kNoPosition) parts_.emplace_back();
    parts_.back().text += c;
  }
  void group(size_t number) {
    if (number > regex_.group_count()) refuse(fmt::format("invalid group reference {}", number));
    parts_.push_back({"", number});
  }
  void octal(size_t digits) {
    unsigned value = 0;
    for (size_t i = 0; i < digits; ++i) value = value * 8 + static_cast<unsigned>(peek(1 + i) - '0');
    if (value > 0377) refuse("an octal escape above 0o377");
    std::string character;
    append_utf8(&character, value);
    for (const char c : character) literal(c);
    at_ += 1 + digits;
  }
  void named() {
    const size_t close = text_.find('>', at_);
    if (peek(2) != '<' || close == std::string_view::npos || close == at_ + 3) refuse("\\g without <name>");
    const std::string_view name = text_.substr(at_ + 3, close - at_ - 3);
    if (std::all_of(name.begin(), name.end(), [](char c) { return digit(c); }) && name.size() < 6) {
      group(std::stoul(std::string(name)));
    } else if (const std::optional<size_t> number = regex_.group_index(name)) {
      group(*number);
    } else {
      refuse(fmt::format("unknown group '{}'", name));
    }
    at_ = close + 1;
  }
  void escape(char c) {
    constexpr std::string_view kLetters = "abfnrtv\\";
    constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\";
    if (c == 'g') return named();
    if (c == '0') return octal(1 + (digit(peek(2), '7') ? 1 + digit(peek(3), '7') : 0));
    if (digit(c)) {
      if (digit(c, '3') && digit(peek(2), '7') && digit(peek(3), '7')) return octal(3);
      const bool two = digit(peek(2));
      group(static_cast<size_t>(c - '0') * (two ? 10 : 1) + (two ? static_cast<size_t>(peek(2) - '0') : 0));
      at_ += two ? 3 : 2;
      return;
    }
    if (const size_t i = kLetters.find(c); i != std::string_view::npos) {
      literal(kMeanings[i]);
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      refuse(fmt::format("bad escape \\{}", c));
    } else {
      literal('\\');
      literal(c);
    }
    at_ += 2;
  }

  const Regex& regex_;
  std::string_view text_;
  size_t at_ = 0;
  std::vector<ReplacementPart> parts_;
};

}  // namespace

std::vector<ReplacementPart> read_replacement(const Regex& regex, std::string_view replacement) {
  return ReplacementReader(regex, replacement).run();
}

}  // namespace evalmpi::text

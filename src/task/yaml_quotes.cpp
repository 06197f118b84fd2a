#include "yaml_quotes.h"

#include <charconv>
#include <utility>

namespace evalmpi::task {
namespace {

void append_utf8(std::string& text, uint32_t code_point) {
  const auto byte = [&](uint32_t value) { text += static_cast<char>(value); };
  if (code_point < 0x80) {
    byte(code_point);
  } else if (code_point < 0x800) {
    byte(0xc0 | (code_point >> 6));
    byte(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    byte(0xe0 | (code_point >> 12));
    byte(0x80 | ((code_point >> 6) & 0x3f));
    byte(0x80 | (code_point & 0x3f));
  } else {
    byte(0xf0 | (code_point >> 18));
    byte(0x80 | ((code_point >> 12) & 0x3f));
    byte(0x80 | ((code_point >> 6) & 0x3f));
    byte(0x80 | (code_point & 0x3f));
  }
}

// The character that a letter after a backslash stands for.
constexpr std::pair<char, uint32_t> kEscapes[] = {
    {'0', 0},  {'a', 7},  {'b', 8},  {'t', 9},  {'\t', 9},  {'n', 10},   {'v', 11},   {'f', 12},     {'r', 13},
    {'e', 27}, {' ', 32}, {'"', 34}, {'/', 47}, {'\\', 92}, {'N', 0x85}, {'_', 0xa0}, {'L', 0x2028}, {'P', 0x2029}};

class QuotedReader {
 public:
  QuotedReader(std::string_view source, size_t position)
      : rest_(source.substr(position + 1)), quote_(source[position]) {}

  std::optional<std::string> read() {
    while (!rest_.empty()) {
      const char c = rest_.front();
      if (c == quote_ && !(quote_ == '\'' && rest_.starts_with("''"))) return std::move(text_);
      if (c == quote_) {
        text_ += c;
        rest_.remove_prefix(2);
      } else if (c == ' ' || c == '\t' || break_length() > 0) {
        read_space();
      } else if (c == '\\' && quote_ == '"') {
        if (!read_escape()) return {};
      } else {
        text_ += c;
        rest_.remove_prefix(1);
      }
    }
    return {};
  }

 private:
  // Bytes of the line break at the front; 0 when there is none. YAML 1.1 also breaks lines at U+0085, U+2028, U+2029.
  size_t break_length() const {
    if (rest_.starts_with("\r\n")) return 2;
    if (rest_.starts_with('\n') || rest_.starts_with('\r')) return 1;
    if (rest_.starts_with("\u0085")) return 2;
    return rest_.starts_with("\u2028") || rest_.starts_with("\u2029") ? 3 : 0;
  }

  std::string take_break() {
    const size_t length = break_length();
    const std::string taken = length == 3 ? std::string(rest_.substr(0, 3)) : "\n";
    rest_.remove_prefix(length);
    return taken;
  }

  std::string_view take_blanks() {
    const size_t length = std::min(rest_.find_first_not_of(" \t"), rest_.size());
    const std::string_view blanks = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return blanks;
  }

  // The empty lines that follow a break; each is a newline.
  std::string take_empty_lines() {
    std::string lines;
    for (take_blanks(); break_length() > 0; take_blanks()) lines += take_break();
    return lines;
  }

  // Blanks within a line stay; a line break is a space, or nothing where empty lines follow.
  void read_space() {
    const std::string_view blanks = take_blanks();
    if (break_length() == 0) {
      text_ += blanks;
      return;
    }
    const std::string first = take_break();
    const std::string empty_lines = take_empty_lines();
    if (first != "\n") {
      text_ += first;
    } else if (empty_lines.empty()) {
      text_ += ' ';
    }
    text_ += empty_lines;
  }

  bool read_escape() {
    rest_.remove_prefix(1);
    if (rest_.empty()) return false;
    if (break_length() > 0) {
      take_break();
      text_ += take_empty_lines();
      return true;
    }
    const char letter = rest_.front();
    rest_.remove_prefix(1);
    for (const auto& [known, code_point] : kEscapes) {
      if (letter != known) continue;
      append_utf8(text_, code_point);
      return true;
    }
    const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
    uint32_t code_point = 0;
    if (digits == 0 || rest_.size() < digits) return false;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + digits, code_point, 16);
    if (error != std::errc() || end != rest_.data() + digits || code_point > 0x10ffff) return false;
    append_utf8(text_, code_point);
    rest_.remove_prefix(digits);
    return true;
  }

  std::string_view rest_;
  char quote_;
  std::string text_;
};

}  // namespace

std::optional<std::string> read_quoted_scalar(std::string_view source, size_t position) {
  if (position >= source.size() || (source[position] != '"' && source[position] != '\'')) return {};
  return QuotedReader(source, position).read();
}

}  // namespace evalmpi::task

#include "jinja_lexer.h"

#include <fmt/format.h>

#include <algorithm>

#include "code_point.h"
#include "evalmpi/text/python.h"
#include "python_escapes.h"

namespace evalmpi::text::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_name_character(int32_t c) {
  if (c < 0x80) return is_digit(static_cast<char>(c)) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return false;
  }
}

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  return out;
}

class Lexer {
 public:
  Lexer(std::string_view source, const TemplateOptions& options)
      : source_(normalize_newlines(source)), options_(options) {
    if (!options_.keep_trailing_newline && source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> run() {
    while (position_ < source_.size()) lex_text_and_tag();
    push(Token::Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail_here(std::string message) const { throw SyntaxProblem{line_, std::move(message)}; }

  bool looking_at(std::string_view text) const { return std::string_view(source_).substr(position_).starts_with(text); }

  void push(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  // Moves on, counting lines.
  void advance(size_t bytes) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(position_),
                                         source_.begin() + static_cast<ptrdiff_t>(position_ + bytes), '\n'));
    position_ += bytes;
  }

  void skip_space() {
    while (position_ < source_.size()) {
      const auto [value, bytes] = code_point_at(source_, position_);
      if (!python::is_space(value)) break;
      advance(bytes);
    }
  }

  void push_text(std::string_view text) {
    if (!text.empty()) push(Token::Kind::kText, std::string(text));
  }

  // The text before a tag whose mark ends at `sign`, with the space taken off that the tag asks for.
  std::string_view trimmed(std::string_view text, char sign, bool is_print, bool starts_line) const {
    if (sign == '-') return text.substr(0, python::rstrip(text).size());
    if (sign == '+' || is_print || !options_.lstrip_blocks) return text;
    const size_t line_start = text.rfind('\n') + 1;
    if (line_start == 0 && !starts_line) return text;
    const std::string_view tail = text.substr(line_start);
    return python::strip(tail).empty() ? text.substr(0, line_start) : text;
  }

  void lex_text_and_tag() {
    const size_t start = position_;
    const bool starts_line = start == 0 || source_[start - 1] == '\n';
    size_t tag = start;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == source_.npos || tag + 1 == source_.size()) {
        push_text(std::string_view(source_).substr(start));
        advance(source_.size() - start);
        return;
      }
      const char second = source_[tag + 1];
      if (second == '{' || second == '%' || second == '#') break;
    }
    const char mark = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool has_sign = sign == '-' || sign == '+';
    push_text(trimmed(std::string_view(source_).substr(start, tag - start), sign, mark == '{', starts_line));
    advance(tag - start + 2 + (has_sign ? 1 : 0));
    if (mark == '#') {
      lex_comment();
    } else if (mark == '{') {
      push(Token::Kind::kPrintBegin, "");
      lex_tag("}}", Token::Kind::kPrintEnd);
    } else if (!lex_raw()) {
      push(Token::Kind::kBlockBegin, "");
      lex_tag("%}", Token::Kind::kBlockEnd);
    }
  }

  // Passes the end mark of a tag, if it is here, and the space after it that it takes away.
  bool pass_end(std::string_view mark, bool trims_newline) {
    if (looking_at(mark)) {
      advance(mark.size());
      if (trims_newline && looking_at("\n")) advance(1);
      return true;
    }
    if (position_ < source_.size() && std::string_view(source_).substr(position_ + 1).starts_with(mark)) {
      if (source_[position_] == '-') {
        advance(1 + mark.size());
        skip_space();
        return true;
      }
      if (source_[position_] == '+' && mark != "}}") {
        advance(1 + mark.size());
        return true;
      }
    }
    return false;
  }

  void lex_comment() {
    const int first_line = line_;
    while (position_ < source_.size()) {
      if (pass_end("#}", options_.trim_blocks)) return;
      advance(1);
    }
    throw SyntaxProblem{first_line, "a comment is not closed"};
  }

  // {% raw %} ... {% endraw %}; true if it was one.
  bool lex_raw() {
    const size_t start = position_;
    const int first_line = line_;
    skip_space();
    if (looking_at("raw")) {
      advance(3);
      skip_space();
      if (pass_end("%}", false)) {
        lex_raw_body(first_line);
        return true;
      }
    }
    position_ = start;
    line_ = first_line;
    return false;
  }

  void lex_raw_body(int first_line) {
    const size_t start = position_;
    const bool starts_line = source_[start - 1] == '\n';
    for (size_t tag = source_.find("{%", start); tag != source_.npos; tag = source_.find("{%", tag + 1)) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      advance(tag - position_ + 2 + (sign == '-' || sign == '+' ? 1 : 0));
      skip_space();
      if (!looking_at("endraw")) continue;
      advance(6);
      skip_space();
      if (!pass_end("%}", options_.trim_blocks)) continue;
      push_text(trimmed(std::string_view(source_).substr(start, tag - start), sign, false, starts_line));
      return;
    }
    throw SyntaxProblem{first_line, "a raw block is not closed"};
  }

  // The tokens inside {{ }} or {% %}, and the end mark.
  void lex_tag(std::string_view end_mark, Token::Kind end_kind) {
    const int first_line = line_;
    std::string open;  // brackets not yet closed
    for (;;) {
      if (open.empty()) {
        push(end_kind, "");
        if (pass_end(end_mark, options_.trim_blocks && end_mark == "%}")) return;
        tokens_.pop_back();
      }
      if (position_ >= source_.size()) throw SyntaxProblem{first_line, "a tag is not closed"};
      const auto [value, bytes] = code_point_at(source_, position_);
      if (python::is_space(value)) {
        advance(bytes);
      } else if (value < 0x80 && is_digit(static_cast<char>(value))) {
        lex_number();
      } else if (value >= 0 && is_name_character(value)) {
        lex_name();
      } else if (value == '\'' || value == '"') {
        lex_string();
      } else {
        lex_sign(open);
      }
    }
  }

  void lex_name() {
    size_t end = position_;
    while (end < source_.size()) {
      const auto [value, bytes] = code_point_at(source_, end);
      if (value < 0 || !is_name_character(value)) break;
      end += bytes;
    }
    push(Token::Kind::kName, source_.substr(position_, end - position_));
    position_ = end;
  }

  // The end of a run of digits with single underscores between them.
  size_t end_of_digits(size_t at) const {
    while (at < source_.size() &&
           (is_digit(source_[at]) || (source_[at] == '_' && at > position_ && at + 1 < source_.size() &&
                                      is_digit(source_[at - 1]) && is_digit(source_[at + 1])))) {
      ++at;
    }
    return at;
  }

  void lex_number() {
    const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';
    size_t end = end_of_digits(position_);
    bool is_float = false;
    if (!after_dot) {
      if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
        is_float = true;
        end = end_of_digits(end + 1);
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        size_t exponent = end + 1;
        if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
        if (exponent < source_.size() && is_digit(source_[exponent])) {
          is_float = true;
          end = end_of_digits(exponent);
        }
      }
    }
    if (!is_float && source_[position_] == '0' && position_ + 1 < source_.size() &&
        std::string_view("xXoObB").find(source_[position_ + 1]) != std::string_view::npos) {
      end = source_.find_first_not_of("0123456789abcdefABCDEF_", position_ + 2);
      if (end == source_.npos) end = source_.size();
    }
    std::string literal = source_.substr(position_, end - position_);
    std::erase(literal, '_');
    push(Token::Kind::kNumber, std::move(literal));
    position_ = end;
  }

  void lex_string() {
    const char quote = source_[position_];
    size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail_here("a text literal is not closed");
    std::string text;
    if (!python::decode_escapes(std::string_view(source_).substr(position_ + 1, end - position_ - 1), text)) {
      fail_here("a text literal holds an escape that cannot be decoded");
    }
    push(Token::Kind::kString, std::move(text));
    advance(end + 1 - position_);
  }

  void lex_sign(std::string& open) {
    static constexpr std::string_view kLong[] = {"//", "**", "==", "!=", ">=", "<="};
    for (const std::string_view sign : kLong) {
      if (looking_at(sign)) {
        push(Token::Kind::kSign, std::string(sign));
        position_ += sign.size();
        return;
      }
    }
    const char c = source_[position_];
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos) {
      fail_here(fmt::format("unexpected character {}",
                            python::repr_text(source_.substr(position_, code_point_at(source_, position_).bytes))));
    }
    if (c == '(' || c == '[' || c == '{') {
      open += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) fail_here(fmt::format("unexpected '{}'", c));
      if (open.back() != c) fail_here(fmt::format("unexpected '{}', expected '{}'", c, open.back()));
      open.pop_back();
    }
    push(Token::Kind::kSign, std::string(1, c));
    ++position_;
  }

  std::string source_;
  TemplateOptions options_;
  std::vector<Token> tokens_;
  size_t position_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const TemplateOptions& options) {
  return Lexer(source, options).run();
}

}  // namespace evalmpi::text::jinja

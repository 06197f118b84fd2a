#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>

#include "code_point.h"
#include "evalmpi/text/python.h"
#include "python_escapes.h"

namespace evalmpi::text::python {
namespace {

constexpr int kMaxDepth = 100;

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

bool is_name_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Reads exactly `digits` hexadecimal digits at `position` and appends the character they name.
bool append_hexadecimal(std::string_view body, size_t& position, int digits, std::string& out) {
  int64_t value = 0;
  for (int i = 0; i < digits; ++i, ++position) {
    if (position >= body.size() || digit_value(body[position]) > 15) return false;
    value = value * 16 + digit_value(body[position]);
  }
  if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return false;
  append_code_point(out, static_cast<int32_t>(value));
  return true;
}

class LiteralParser {
 public:
  explicit LiteralParser(std::string_view text) : text_(text) {}

  std::optional<Json> parse() {
    skip_space(true);
    std::optional<Json> value = parse_value(0);
    if (!value) return {};
    skip_space(false);
    if (peek() == ',') {
      Json tuple = Json::array({std::move(*value)});
      if (!parse_rest_of_bare_tuple(tuple)) return {};
      value = std::move(tuple);
    }
    skip_space(true);
    if (position_ != text_.size()) return {};
    return value;
  }

 private:
  char peek(size_t ahead = 0) const { return position_ + ahead < text_.size() ? text_[position_ + ahead] : '\0'; }

  // Blanks and comments.
  void skip_space(bool newlines) {
    while (position_ < text_.size()) {
      if (text_[position_] == '#') position_ = std::min(text_.find_first_of("\r\n", position_), text_.size());
      if (position_ == text_.size()) break;
      const char c = text_[position_];
      if (c != ' ' && c != '\t' && c != '\f' && !(newlines && (c == '\n' || c == '\r'))) break;
      ++position_;
    }
  }

  bool parse_rest_of_bare_tuple(Json& tuple) {
    while (peek() == ',') {
      ++position_;
      skip_space(false);
      if (position_ == text_.size() || peek() == '\n') return true;
      std::optional<Json> item = parse_value(0);
      if (!item) return false;
      tuple.push_back(std::move(*item));
      skip_space(false);
    }
    return true;
  }

  // One value; `brackets` counts the open ones, inside which newlines are space.
  std::optional<Json> parse_value(int brackets) {
    if (brackets > kMaxDepth) return {};
    const char c = peek();
    if (c == '[') return parse_list(brackets, ']', false);
    if (c == '(') return parse_list(brackets, ')', true);
    if (c == '{') return parse_dict(brackets);
    if (c == '\'' || c == '"') return parse_strings(brackets);
    if ((c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+') return parse_signed_number();
    size_t end = position_;
    while (end < text_.size() && is_name_character(text_[end])) ++end;
    if (end < text_.size() && (text_[end] == '\'' || text_[end] == '"')) return parse_strings(brackets);
    const std::string_view name = text_.substr(position_, end - position_);
    position_ = end;
    if (name == "None") return Json(nullptr);
    if (name == "True") return Json(true);
    if (name == "False") return Json(false);
    return {};
  }

  std::optional<Json> parse_list(int brackets, char close, bool is_tuple) {
    ++position_;
    Json out = Json::array();
    bool has_comma = false;
    for (;;) {
      skip_space(true);
      if (peek() == close) {
        ++position_;
        if (is_tuple && !has_comma && out.size() == 1) {
          Json only = std::move(out[0]);
          return only;
        }
        return out;
      }
      if (!out.empty() && !has_comma) return {};
      std::optional<Json> item = parse_value(brackets + 1);
      if (!item) return {};
      out.push_back(std::move(*item));
      skip_space(true);
      if (peek() == ',') {
        has_comma = true;
        ++position_;
      } else if (peek() != close) {
        return {};
      }
    }
  }

  std::optional<Json> parse_dict(int brackets) {
    ++position_;
    Json out = Json::object();
    for (;;) {
      skip_space(true);
      if (peek() == '}') {
        ++position_;
        return out;
      }
      const std::optional<Json> key = parse_value(brackets + 1);
      if (!key || !key->is_string()) return {};
      skip_space(true);
      if (peek() != ':') return {};
      ++position_;
      skip_space(true);
      std::optional<Json> item = parse_value(brackets + 1);
      if (!item) return {};
      out[key->get_ref<const std::string&>()] = std::move(*item);
      skip_space(true);
      if (peek() == ',') {
        ++position_;
      } else if (peek() != '}') {
        return {};
      }
    }
  }

  std::optional<Json> parse_strings(int brackets) {
    std::string out;
    do {
      if (!parse_string(out)) return {};
      skip_space(brackets > 0);
    } while (starts_string());
    return Json(std::move(out));
  }

  bool starts_string() const {
    const char c = peek();
    if (c == '\'' || c == '"') return true;
    const bool is_prefix = c == 'r' || c == 'R' || c == 'u' || c == 'U';
    return is_prefix && (peek(1) == '\'' || peek(1) == '"');
  }

  bool parse_string(std::string& out) {
    bool raw = false;
    if (peek() != '\'' && peek() != '"') {
      if (!starts_string()) return false;
      raw = peek() == 'r' || peek() == 'R';
      ++position_;
    }
    const char quote = peek();
    const bool triple = peek(1) == quote && peek(2) == quote;
    position_ += triple ? 3 : 1;
    const size_t start = position_;
    for (; position_ < text_.size(); ++position_) {
      const char c = text_[position_];
      if (c == '\\') {
        ++position_;
      } else if (c == '\n' && !triple) {
        return false;
      } else if (c == quote && (!triple || (peek(1) == quote && peek(2) == quote))) {
        const std::string_view body = text_.substr(start, position_ - start);
        position_ += triple ? 3 : 1;
        if (!raw) return decode_escapes(body, out);
        out += body;
        return true;
      }
    }
    return false;
  }

  std::optional<Json> parse_signed_number() {
    const bool negative = peek() == '-';
    if (negative || peek() == '+') {
      ++position_;
      skip_space(false);
    }
    return parse_number(negative);
  }

  // A run of digits of `base`, single underscores between them; false when there is none.
  bool read_digits(int base, std::string& digits) {
    const size_t before = digits.size();
    while (digit_value(peek()) < base || (peek() == '_' && digits.size() > before && digit_value(peek(1)) < base)) {
      if (peek() != '_') digits += peek();
      ++position_;
    }
    return digits.size() > before;
  }

  std::optional<Json> parse_number(bool negative) {
    int base = 10;
    std::string digits;
    if (peek() == '0') {
      const char mark = static_cast<char>(peek(1) | 0x20);
      base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    }
    if (base != 10) {
      position_ += 2;
      if (peek() == '_') ++position_;
      if (!read_digits(base, digits)) return {};
      return integer(digits, base, negative);
    }
    const bool has_whole = read_digits(10, digits);
    bool is_float = false;
    if (peek() == '.') {
      is_float = true;
      digits += '.';
      ++position_;
      if (!read_digits(10, digits) && !has_whole) return {};
    } else if (!has_whole) {
      return {};
    }
    if (peek() == 'e' || peek() == 'E') {
      is_float = true;
      digits += 'e';
      ++position_;
      if (peek() == '-' || peek() == '+') {
        digits += peek();
        ++position_;
      }
      if (!read_digits(10, digits)) return {};
    }
    if (is_name_character(peek())) return {};
    if (is_float) {
      const double value = std::strtod(digits.c_str(), nullptr);
      return Json(negative ? -value : value);
    }
    if (digits[0] == '0' && digits.find_first_not_of('0') != digits.npos) return {};
    return integer(digits, 10, negative);
  }

  std::optional<Json> integer(const std::string& digits, int base, bool negative) const {
    if (is_name_character(peek())) return {};
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (error != std::errc() || end != digits.data() + digits.size()) return {};
    constexpr auto kMaxPositive = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (!negative) return value <= kMaxPositive ? Json(static_cast<int64_t>(value)) : Json(value);
    if (value > kMaxPositive + 1) return {};
    return Json(static_cast<int64_t>(~value + 1));
  }

  std::string_view text_;
  size_t position_ = 0;
};

}  // namespace

bool decode_escapes(std::string_view body, std::string& out) {
  for (size_t i = 0; i < body.size();) {
    const char c = body[i++];
    if (c != '\\') {
      out += c;
      continue;
    }
    if (i == body.size()) return false;
    const char escape = body[i++];
    switch (escape) {
      case '\n': break;
      case '\\':
      case '\'':
      case '"': out += escape; break;
      case 'a': out += '\a'; break;
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      case 'n': out += '\n'; break;
      case 'r': out += '\r'; break;
      case 't': out += '\t'; break;
      case 'v': out += '\v'; break;
      case 'x':
        if (!append_hexadecimal(body, i, 2, out)) return false;
        break;
      case 'u':
        if (!append_hexadecimal(body, i, 4, out)) return false;
        break;
      case 'U':
        if (!append_hexadecimal(body, i, 8, out)) return false;
        break;
      case 'N': return false;
      default:
        if (escape >= '0' && escape <= '7') {
          int value = escape - '0';
          for (int more = 0; more < 2 && i < body.size() && body[i] >= '0' && body[i] <= '7'; ++more, ++i) {
            value = value * 8 + (body[i] - '0');
          }
          append_code_point(out, value);
        } else {
          out += '\\';
          out += escape;
        }
    }
  }
  return true;
}

std::optional<Json> parse_literal(std::string_view text) { return LiteralParser(text).parse(); }

}  // namespace evalmpi::text::python

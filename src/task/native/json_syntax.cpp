#include "json_syntax.h"

#include <array>
#include <cctype>

namespace evalmpi::task::native {
namespace {

constexpr int kDeepest = 900;
constexpr size_t kMostDigits = 4300;

// Reads one text from left to right; every function moves behind what it accepts.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool document() {
    skip_space();
    if (!value(0)) return false;
    skip_space();
    return rest_.empty();
  }

 private:
  void skip_space() {
    const size_t end = rest_.find_first_not_of(" \t\n\r");
    rest_.remove_prefix(end == rest_.npos ? rest_.size() : end);
  }

  bool accept(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  size_t digits() {
    size_t count = 0;
    while (count < rest_.size() && rest_[count] >= '0' && rest_[count] <= '9') ++count;
    rest_.remove_prefix(count);
    return count;
  }

  bool value(int depth) {
    if (depth > kDeepest) return false;
    if (rest_.starts_with('"')) return string();
    if (accept("{")) return members(depth);
    if (accept("[")) return items(depth);
    constexpr std::array<std::string_view, 6> kWords = {"null", "true", "false", "NaN", "Infinity", "-Infinity"};
    for (const std::string_view word : kWords) {
      if (accept(word)) return true;
    }
    return number();
  }

  bool items(int depth) {
    skip_space();
    if (accept("]")) return true;
    while (value(depth + 1)) {
      skip_space();
      if (accept("]")) return true;
      if (!accept(",")) return false;
      skip_space();
    }
    return false;
  }

  bool members(int depth) {
    skip_space();
    if (accept("}")) return true;
    while (rest_.starts_with('"') && string()) {
      skip_space();
      if (!accept(":")) return false;
      skip_space();
      if (!value(depth + 1)) return false;
      skip_space();
      if (accept("}")) return true;
      if (!accept(",")) return false;
      skip_space();
    }
    return false;
  }

  bool string() {
    for (size_t i = 1; i < rest_.size(); ++i) {
      const char c = rest_[i];
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c == '"') {
        rest_.remove_prefix(i + 1);
        return true;
      }
      if (c != '\\') continue;
      if (++i == rest_.size() || std::string_view("\"\\/bfnrtu").find(rest_[i]) == std::string_view::npos) return false;
      if (rest_[i] != 'u') continue;
      for (int k = 0; k < 4; ++k) {
        if (++i == rest_.size() || std::isxdigit(static_cast<unsigned char>(rest_[i])) == 0) return false;
      }
    }
    return false;
  }

  // A point without digits behind it, or an e without an exponent, is left for the caller to stumble over.
  bool number() {
    accept("-");
    size_t n_digits = 1;
    if (!accept("0")) n_digits = digits();
    if (n_digits == 0) return false;
    bool is_integer = true;
    if (rest_.size() > 1 && rest_[0] == '.' && std::isdigit(static_cast<unsigned char>(rest_[1])) != 0) {
      accept(".");
      digits();
      is_integer = false;
    }
    const std::string_view before = rest_;
    if (accept("e") || accept("E")) {
      if (!accept("+")) accept("-");
      if (digits() == 0) {
        rest_ = before;
      } else {
        is_integer = false;
      }
    }
    return !is_integer || n_digits <= kMostDigits;
  }

  std::string_view rest_;
};

}  // namespace

bool python_reads_json(std::string_view text) { return Reader(text).document(); }

}  // namespace evalmpi::task::native

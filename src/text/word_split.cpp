#include "word_split.h"

#include <array>
#include <cstdint>
#include <vector>

#include "evalmpi/text/unicode.h"

namespace evalmpi::text {

const std::string_view kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

enum Class : uint8_t { kOther, kLetter, kNumber, kSpace };

// The class of every code point, in pages of 256 of which equal ones are stored once.
class ClassTable {
 public:
  ClassTable() {
    std::array<uint8_t, 256> page{};
    for (char32_t first = 0; first < 0x110000; first += 256) {
      for (char32_t i = 0; i < 256; ++i) page[i] = classify(first + i);
      size_t index = pages_.size();
      // Long runs of one script make equal neighbours.
      if (index > 0 && pages_.back() == page) index -= 1;
      if (index == pages_.size()) pages_.push_back(page);
      page_of_[first >> 8] = static_cast<uint16_t>(index);
    }
  }
  uint8_t operator[](char32_t c) const { return pages_[page_of_[c >> 8]][c & 0xFF]; }

 private:
  static uint8_t classify(char32_t c) {
    if (is_white_space(c)) return kSpace;
    return is_letter(c) ? kLetter : is_number(c) ? kNumber : kOther;
  }
  std::array<uint16_t, 0x1100> page_of_{};
  std::vector<std::array<uint8_t, 256>> pages_;
};

const ClassTable& classes() {
  static const ClassTable table;
  return table;
}

// A position in a text and the class of the character there.
struct Cursor {
  std::string_view text;
  const ClassTable& table;
  size_t at;
  size_t next = 0;
  char32_t c = 0;
  int kind = -1;  // -1 at the end

  Cursor(std::string_view text_in, size_t at_in) : text(text_in), table(classes()), at(at_in) { look(); }
  void look() {
    if (at >= text.size()) {
      kind = -1;
      return;
    }
    next = at;
    c = next_code_point(text, &next);
    kind = table[c];
  }
  void step() {
    at = next;
    look();
  }
  void skip(int wanted) {
    while (kind == wanted) step();
  }
};

char lower_ascii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// The length of 's 't 're 've 'm 'll 'd at `at`, which holds an apostrophe; 0 if there is none. Without regard to case,
// the long s folds to s.
size_t contraction(std::string_view text, size_t at, bool any_case) {
  const auto letter = [&](size_t i) {
    if (at + i >= text.size()) return '\0';
    return any_case ? lower_ascii(text[at + i]) : text[at + i];
  };
  switch (letter(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 2;
    case 'r':
    case 'v': return letter(2) == 'e' ? 3 : 0;
    case 'l': return letter(2) == 'l' ? 3 : 0;
    default: return any_case && text.substr(at + 1).starts_with("\xC5\xBF") ? 3 : 0;
  }
}

// \s+(?!\S)|\s+ : white space, but its last character is left to a word that follows, unless it is the only one.
size_t space_end(std::string_view text, size_t begin) {
  Cursor cursor(text, begin);
  size_t last = begin;
  for (; cursor.kind == kSpace; cursor.step()) last = cursor.at;
  return cursor.kind == -1 || last == begin ? cursor.at : last;
}

size_t gpt2_word_end(std::string_view text, size_t begin) {
  Cursor cursor(text, begin);
  if (cursor.c == '\'') {
    if (const size_t length = contraction(text, begin, false)) return begin + length;
  }
  if (cursor.c == ' ') {
    cursor.step();
    if (cursor.kind == kSpace || cursor.kind == -1) return space_end(text, begin);
  }
  if (cursor.kind == kSpace) return space_end(text, begin);
  cursor.skip(cursor.kind);
  return cursor.at;
}

bool is_line_end(char32_t c) { return c == '\r' || c == '\n'; }

// \s*[\r\n]+ : up to the last line end in the white space; 0 if there is none.
size_t line_space_end(std::string_view text, size_t begin) {
  size_t end = 0;
  for (Cursor cursor(text, begin); cursor.kind == kSpace; cursor.step()) {
    if (is_line_end(cursor.c)) end = cursor.next;
  }
  return end;
}

template <int kMaxDigits>
size_t llama3_word_end(std::string_view text, size_t begin) {
  Cursor cursor(text, begin);
  if (cursor.c == '\'') {
    if (const size_t length = contraction(text, begin, true)) return begin + length;
  }
  if (cursor.kind == kNumber) {
    for (int digits = 0; digits < kMaxDigits && cursor.kind == kNumber; ++digits) cursor.step();
    return cursor.at;
  }
  const char32_t first = cursor.c;
  const int first_kind = cursor.kind;
  if (first_kind != kLetter) cursor.step();
  if (cursor.kind == kLetter && !is_line_end(first)) {
    cursor.skip(kLetter);
    return cursor.at;
  }
  if (first_kind == kOther || (first == ' ' && cursor.kind == kOther)) {
    cursor.skip(kOther);
    while (cursor.kind == kSpace && is_line_end(cursor.c)) cursor.step();
    return cursor.at;
  }
  if (const size_t end = line_space_end(text, begin)) return end;
  return space_end(text, begin);
}

struct Row {
  std::string_view pattern;
  WordEnd end;
};

}  // namespace

WordEnd known_word_end(std::string_view pattern) {
  const std::array rows = {Row{kGpt2Pattern, gpt2_word_end}, Row{kLlama3Pattern, llama3_word_end<3>},
                           Row{kQwen2Pattern, llama3_word_end<1>}};
  for (const Row& row : rows) {
    if (row.pattern == pattern) {
      classes();
      return row.end;
    }
  }
  return nullptr;
}

}  // namespace evalmpi::text

#include "evalmpi/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "evalmpi/base/error.h"
#include "unicode_additions.h"

namespace evalmpi::text {
namespace {

unsigned char byte_at(std::string_view text, size_t i) { return static_cast<unsigned char>(text[i]); }

// What a lead byte asks for: the length of its character and the bounds of the second byte (Unicode, table 3-7).
struct Lead {
  size_t length = 0;  // 0: no lead byte
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
};

Lead lead_of(unsigned char c) {
  if (c < 0x80) return {1};
  if (c < 0xC2) return {};
  if (c < 0xE0) return {2};
  if (c == 0xE0) return {3, 0xA0, 0xBF};
  if (c == 0xED) return {3, 0x80, 0x9F};
  if (c < 0xF0) return {3};
  if (c == 0xF0) return {4, 0x90, 0xBF};
  if (c < 0xF4) return {4};
  if (c == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

// How many bytes from `at` on are a character or the valid beginning of one; *complete says which. At least 1.
size_t scan_character(std::string_view text, size_t at, bool* complete) {
  const Lead lead = lead_of(byte_at(text, at));
  *complete = lead.length == 1;
  if (lead.length <= 1) return 1;
  size_t length = 1;
  for (; length < lead.length && at + length < text.size(); ++length) {
    const unsigned char c = byte_at(text, at + length);
    const bool fits = length == 1 ? c >= lead.low && c <= lead.high : (c & 0xC0) == 0x80;
    if (!fits) return length;
  }
  *complete = length == lead.length;
  return length;
}

// A byte with the top bit set, eight at a time.
size_t ascii_prefix(std::string_view text, size_t from) {
  size_t i = from;
  while (i + 8 <= text.size()) {
    uint64_t word = 0;
    std::copy_n(text.data() + i, 8, reinterpret_cast<char*>(&word));
    if (word & 0x8080808080808080ULL) break;
    i += 8;
  }
  while (i < text.size() && byte_at(text, i) < 0x80) ++i;
  return i;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

void append_normalized(std::string* out, std::string_view text, NormalForm form) {
  int options = UTF8PROC_STABLE;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  options |= compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::kNfkc || form == NormalForm::kNfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &mapped, static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(mapped, &std::free);
  if (length < 0) fail(ExitCode::kInternal, "Unicode normalisation failed: {}", utf8proc_errmsg(length));
  out->append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
}

}  // namespace

size_t valid_utf8_prefix(std::string_view text) {
  size_t at = 0;
  while ((at = ascii_prefix(text, at)) < text.size()) {
    bool complete = false;
    const size_t length = scan_character(text, at, &complete);
    if (!complete) return at;
    at += length;
  }
  return at;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t at = 0;
  while (at < text.size()) {
    const size_t valid = valid_utf8_prefix(text.substr(at));
    out += text.substr(at, valid);
    at += valid;
    if (at == text.size()) break;
    bool complete = false;
    at += scan_character(text, at, &complete);
    out += "\xEF\xBF\xBD";
  }
  return out;
}

size_t incomplete_utf8_tail(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const size_t at = text.size() - back;
    if ((byte_at(text, at) & 0xC0) == 0x80) continue;
    bool complete = false;
    const bool open = lead_of(byte_at(text, at)).length > back && scan_character(text, at, &complete) == back;
    return open && !complete ? back : 0;
  }
  return 0;
}

char32_t next_code_point(std::string_view text, size_t* position) {
  const size_t at = *position;
  const unsigned char c = byte_at(text, at);
  const auto tail = [&](size_t i) { return static_cast<char32_t>(byte_at(text, at + i) & 0x3F); };
  if (c < 0x80) {
    *position = at + 1;
    return c;
  }
  if (c < 0xE0) {
    *position = at + 2;
    return (static_cast<char32_t>(c & 0x1F) << 6) | tail(1);
  }
  if (c < 0xF0) {
    *position = at + 3;
    return (static_cast<char32_t>(c & 0x0F) << 12) | (tail(1) << 6) | tail(2);
  }
  *position = at + 4;
  return (static_cast<char32_t>(c & 0x07) << 18) | (tail(1) << 12) | (tail(2) << 6) | tail(3);
}

void append_utf8(std::string* text, char32_t c) {
  const auto put = [&](char32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | (c >> 6));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

size_t code_point_count(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// ASCII characters neither change nor compose with what follows them unless it is not ASCII, so only runs of other
// characters, each with the ASCII character before it, are handed to the library.
std::string normalize(std::string_view text, NormalForm form) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    const size_t plain = ascii_prefix(text, at);
    if (plain == text.size()) {
      if (at == 0) return std::string(text);
      out += text.substr(at);
      break;
    }
    const size_t begin = plain > at ? plain - 1 : plain;
    out += text.substr(at, begin - at);
    size_t end = plain;
    while (end < text.size() && byte_at(text, end) >= 0x80) ++end;
    append_normalized(&out, text.substr(begin, end - begin), form);
    at = end;
  }
  return out;
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

bool is_letter(char32_t c) {
  const utf8proc_category_t kind = category(c);
  return (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO) || is_added_letter(c);
}

bool is_number(char32_t c) {
  const utf8proc_category_t kind = category(c);
  return (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO) || is_added_number(c);
}

bool is_punctuation(char32_t c) {
  const utf8proc_category_t kind = category(c);
  return (kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO) || is_added_punctuation(c);
}

bool is_mark(char32_t c) {
  const utf8proc_category_t kind = category(c);
  return (kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_ME) || is_added_mark(c);
}

bool is_word(char32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  const utf8proc_category_t kind = category(c);
  const bool circled_letter = (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
                              (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
  return is_letter(c) || is_mark(c) || kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_PC || is_added_digit(c) || circled_letter || c == 0x200C || c == 0x200D;
}

char32_t to_lower(char32_t c) { return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))); }
char32_t to_upper(char32_t c) { return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))); }
char32_t to_title(char32_t c) { return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))); }

}  // namespace evalmpi::text

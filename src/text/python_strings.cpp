#include <algorithm>
#include <iterator>
#include <set>

#include "code_point.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "python_case.h"

namespace evalmpi::text::python {
namespace {

// Which code points strip() removes.
class StripSet {
 public:
  explicit StripSet(std::optional<std::string_view> characters) : spaces_(!characters) {
    if (characters) {
      for (const std::string_view character : code_points(*characters)) characters_.insert(character);
    }
  }
  bool holds(std::string_view character) const {
    return spaces_ ? is_space(code_point_at(character, 0).value) : characters_.contains(character);
  }

 private:
  bool spaces_;
  std::set<std::string_view> characters_;
};

std::string_view strip_left(std::string_view text, const StripSet& set) {
  while (!text.empty()) {
    const size_t bytes = code_point_at(text, 0).bytes;
    if (!set.holds(text.substr(0, bytes))) break;
    text.remove_prefix(bytes);
  }
  return text;
}

// Where the last code point of a text that is not empty starts.
size_t last_start(std::string_view text) {
  for (size_t back = 1; back <= 4 && back <= text.size(); ++back) {
    const size_t start = text.size() - back;
    const auto [value, bytes] = code_point_at(text, start);
    if (value >= 0 && bytes == back) return start;
  }
  return text.size() - 1;
}

std::string_view strip_right(std::string_view text, const StripSet& set) {
  while (!text.empty()) {
    const size_t start = last_start(text);
    if (!set.holds(text.substr(start))) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

bool is_cased(int32_t code_point) {
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT: return true;
    default: break;
  }
  // Other_Uppercase and Other_Lowercase: ª º, modifier letters, combining iota, Roman numerals, circled letters.
  static constexpr int32_t kRanges[][2] = {
      {0xaa, 0xaa},     {0xba, 0xba},     {0x2b0, 0x2b8},     {0x2c0, 0x2c1},     {0x2e0, 0x2e4},    {0x345, 0x345},
      {0x37a, 0x37a},   {0x1d2c, 0x1d6a}, {0x1d78, 0x1d78},   {0x1d9b, 0x1dbf},   {0x2071, 0x2071},  {0x207f, 0x207f},
      {0x2090, 0x209c}, {0x2160, 0x217f}, {0x24b6, 0x24e9},   {0x2c7c, 0x2c7d},   {0xa69c, 0xa69d},  {0xa770, 0xa770},
      {0xa7f8, 0xa7f9}, {0xab5c, 0xab5f}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}};
  return std::any_of(std::begin(kRanges), std::end(kRanges),
                     [&](const auto& range) { return code_point >= range[0] && code_point <= range[1]; });
}

bool is_case_ignorable(int32_t code_point) {
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: break;
  }
  static constexpr int32_t kMiddles[] = {0x27,   0x2e,   0x3a,   0xb7,   0x387,  0x55f,  0x5f4,  0x2018, 0x2019,
                                         0x2024, 0x2027, 0xfe13, 0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
  return std::find(std::begin(kMiddles), std::end(kMiddles), code_point) != std::end(kMiddles);
}

// Greek capital sigma becomes a final sigma after a cased letter and before none (Unicode, Final_Sigma).
bool is_final_sigma(std::string_view text, size_t start, size_t end) {
  std::string_view before = text.substr(0, start);
  bool follows_letter = false;
  while (!before.empty()) {
    const size_t last = last_start(before);
    const int32_t value = code_point_at(before, last).value;
    before.remove_suffix(before.size() - last);
    if (value >= 0 && is_case_ignorable(value)) continue;
    follows_letter = value >= 0 && is_cased(value);
    break;
  }
  if (!follows_letter) return false;
  while (end < text.size()) {
    const auto [value, bytes] = code_point_at(text, end);
    end += bytes;
    if (value >= 0 && is_case_ignorable(value)) continue;
    return value < 0 || !is_cased(value);
  }
  return true;
}

const FullCase* full_case(int32_t code_point) {
  const auto* found = std::lower_bound(std::begin(kFullCases), std::end(kFullCases), code_point,
                                       [](const FullCase& entry, int32_t value) { return entry.code_point < value; });
  return found != std::end(kFullCases) && found->code_point == code_point ? found : nullptr;
}

void append_lower(std::string& out, std::string_view text, size_t start, CodePoint c) {
  if (c.value == 0x3a3) {
    append_code_point(out, is_final_sigma(text, start, start + c.bytes) ? 0x3c2 : 0x3c3);
  } else if (c.value == 0x130) {
    out += "i\xcc\x87";
  } else if (c.value < 0) {
    out.append(text, start, c.bytes);
  } else {
    append_code_point(out, utf8proc_tolower(c.value));
  }
}

void append_title(std::string& out, std::string_view text, size_t start, CodePoint c) {
  if (c.value < 0) {
    out.append(text, start, c.bytes);
  } else if (const FullCase* full = full_case(c.value)) {
    out += full->title;
  } else {
    append_code_point(out, utf8proc_totitle(c.value));
  }
}

}  // namespace

bool is_space(int32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_digit(std::string_view text) {
  static constexpr int32_t kDigits[][2] = {
      {0xb2, 0xb3},     {0xb9, 0xb9},       {0x1369, 0x1371},   {0x19da, 0x19da},   {0x2070, 0x2070},
      {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247c},   {0x2488, 0x2490},
      {0x24ea, 0x24ea}, {0x24f5, 0x24fd},   {0x24ff, 0x24ff},   {0x2776, 0x277e},   {0x2780, 0x2788},
      {0x278a, 0x2792}, {0x10a40, 0x10a43}, {0x10e60, 0x10e68}, {0x11052, 0x1105a}, {0x1f100, 0x1f10a}};
  for (size_t i = 0; i < text.size();) {
    const auto [value, bytes] = code_point_at(text, i);
    i += bytes;
    if (value >= 0 && utf8proc_category(value) == UTF8PROC_CATEGORY_ND) continue;
    if (!std::any_of(std::begin(kDigits), std::end(kDigits),
                     [value = value](const auto& range) { return value >= range[0] && value <= range[1]; })) {
      return false;
    }
  }
  return !text.empty();
}

size_t length(std::string_view text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size(); i += code_point_at(text, i).bytes) ++count;
  return count;
}

std::vector<std::string_view> code_points(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t i = 0; i < text.size();) {
    const size_t bytes = code_point_at(text, i).bytes;
    out.push_back(text.substr(i, bytes));
    i += bytes;
  }
  return out;
}

std::vector<int64_t> slice_positions(int64_t size, std::optional<int64_t> start, std::optional<int64_t> stop,
                                     std::optional<int64_t> step) {
  const int64_t stride = step.value_or(1);
  if (stride == 0) fail(ExitCode::kBadInput, "slice step cannot be zero");
  const int64_t lowest = stride < 0 ? -1 : 0;
  const int64_t highest = stride < 0 ? size - 1 : size;
  const auto bound = [&](std::optional<int64_t> value, int64_t absent) {
    if (!value) return absent;
    if (*value < 0) return *value < -size ? lowest : std::max(*value + size, lowest);
    return std::min(*value, highest);
  };
  const int64_t from = bound(start, stride < 0 ? highest : lowest);
  const int64_t to = bound(stop, stride < 0 ? lowest : highest);
  std::vector<int64_t> out;
  if (stride > 0) {
    for (int64_t i = from; i < to;) {
      out.push_back(i);
      if (stride > to - i) break;
      i += stride;
    }
  } else {
    for (int64_t i = from; i > to;) {
      out.push_back(i);
      if (stride < to - i) break;
      i += stride;
    }
  }
  return out;
}

std::string slice(std::string_view text, std::optional<int64_t> start, std::optional<int64_t> stop,
                  std::optional<int64_t> step) {
  const auto characters = code_points(text);
  std::string out;
  for (const int64_t i : slice_positions(static_cast<int64_t>(characters.size()), start, stop, step)) {
    out += characters[static_cast<size_t>(i)];
  }
  return out;
}

std::string strip(std::string_view text, std::optional<std::string_view> characters) {
  const StripSet set(characters);
  return std::string(strip_right(strip_left(text, set), set));
}

std::string lstrip(std::string_view text, std::optional<std::string_view> characters) {
  return std::string(strip_left(text, StripSet(characters)));
}

std::string rstrip(std::string_view text, std::optional<std::string_view> characters) {
  return std::string(strip_right(text, StripSet(characters)));
}

std::vector<std::string> split(std::string_view text, int64_t max_splits) {
  const StripSet spaces(std::nullopt);
  std::vector<std::string> out;
  text = strip_left(text, spaces);
  while (!text.empty()) {
    if (max_splits >= 0 && static_cast<int64_t>(out.size()) == max_splits) {
      out.emplace_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      const auto [value, bytes] = code_point_at(text, end);
      if (is_space(value)) break;
      end += bytes;
    }
    out.emplace_back(text.substr(0, end));
    text = strip_left(text.substr(end), spaces);
  }
  return out;
}

std::vector<std::string> split(std::string_view text, std::string_view separator, int64_t max_splits) {
  if (separator.empty()) fail(ExitCode::kBadInput, "empty separator");
  std::vector<std::string> out;
  while (max_splits < 0 || static_cast<int64_t>(out.size()) < max_splits) {
    const size_t found = text.find(separator);
    if (found == text.npos) break;
    out.emplace_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  out.emplace_back(text);
  return out;
}

std::string join(const std::vector<std::string>& pieces, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0) out += separator;
    out += pieces[i];
  }
  return out;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t max_count) {
  std::string out;
  int64_t count = 0;
  const auto may_go_on = [&] { return max_count < 0 || count < max_count; };
  if (from.empty()) {
    for (const std::string_view character : code_points(text)) {
      if (may_go_on()) {
        out += to;
        ++count;
      }
      out += character;
    }
    if (may_go_on()) out += to;
    return out;
  }
  while (may_go_on()) {
    const size_t found = text.find(from);
    if (found == text.npos) break;
    out += text.substr(0, found);
    out += to;
    text.remove_prefix(found + from.size());
    ++count;
  }
  out += text;
  return out;
}

std::optional<size_t> find(std::string_view text, std::string_view part) {
  const size_t found = text.find(part);
  if (found == text.npos) return {};
  return length(text.substr(0, found));
}

std::string lower(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    append_lower(out, text, i, c);
    i += c.bytes;
  }
  return out;
}

std::string upper(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (c.value < 0) {
      out.append(text, i, c.bytes);
    } else if (const FullCase* full = full_case(c.value)) {
      out += full->upper;
    } else {
      append_code_point(out, utf8proc_toupper(c.value));
    }
    i += c.bytes;
  }
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    i == 0 ? append_title(out, text, i, c) : append_lower(out, text, i, c);
    i += c.bytes;
  }
  return out;
}

std::string title(std::string_view text) {
  std::string out;
  bool after_letter = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    after_letter ? append_lower(out, text, i, c) : append_title(out, text, i, c);
    after_letter = c.value >= 0 && is_cased(c.value);
    i += c.bytes;
  }
  return out;
}

}  // namespace evalmpi::text::python

#include "evalmpi/text/python.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "code_point.h"
#include "evalmpi/base/error.h"

namespace evalmpi::text::python {
namespace {

constexpr int kMaxDepth = 500;

// str.isprintable() of one code point.
bool is_printable(int32_t code_point) {
  if (code_point == ' ') return true;
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}

void append_repr_text(std::string& out, std::string_view text) {
  const bool double_quotes = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = double_quotes ? '"' : '\'';
  out += quote;
  for (size_t i = 0; i < text.size();) {
    const auto [value, bytes] = code_point_at(text, i);
    if (value == quote || value == '\\') {
      out += '\\';
      out += static_cast<char>(value);
    } else if (value == '\n') {
      out += "\\n";
    } else if (value == '\r') {
      out += "\\r";
    } else if (value == '\t') {
      out += "\\t";
    } else if (value < 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i]));
    } else if (is_printable(value)) {
      out.append(text, i, bytes);
    } else if (value < 0x100) {
      out += fmt::format("\\x{:02x}", value);
    } else if (value < 0x10000) {
      out += fmt::format("\\u{:04x}", value);
    } else {
      out += fmt::format("\\U{:08x}", value);
    }
    i += bytes;
  }
  out += quote;
}

void append_repr(std::string& out, const Json& value, int depth) {
  if (depth > kMaxDepth) fail(ExitCode::kBadInput, "a value is nested deeper than {}", kMaxDepth);
  switch (value.type()) {
    case Json::value_t::null: out += "None"; return;
    case Json::value_t::boolean: out += value.get<bool>() ? "True" : "False"; return;
    case Json::value_t::number_integer: out += std::to_string(value.get<int64_t>()); return;
    case Json::value_t::number_unsigned: out += std::to_string(value.get<uint64_t>()); return;
    case Json::value_t::number_float: out += repr_float(value.get<double>()); return;
    case Json::value_t::string: append_repr_text(out, value.get_ref<const std::string&>()); return;
    case Json::value_t::array: {
      out += '[';
      bool first = true;
      for (const Json& item : value) {
        if (!std::exchange(first, false)) out += ", ";
        append_repr(out, item, depth + 1);
      }
      out += ']';
      return;
    }
    case Json::value_t::object: {
      out += '{';
      bool first = true;
      for (const auto& [key, item] : value.items()) {
        if (!std::exchange(first, false)) out += ", ";
        append_repr_text(out, key);
        out += ": ";
        append_repr(out, item, depth + 1);
      }
      out += '}';
      return;
    }
    default: fail(ExitCode::kBadInput, "binary values have no Python text form here");
  }
}

class JsonWriter {
 public:
  explicit JsonWriter(JsonStyle style) : style_(style) {}

  void write(const Json& value, int depth) {
    if (depth > kMaxDepth) fail(ExitCode::kBadInput, "a value is nested deeper than {}", kMaxDepth);
    switch (value.type()) {
      case Json::value_t::null: out_ += "null"; return;
      case Json::value_t::boolean: out_ += value.get<bool>() ? "true" : "false"; return;
      case Json::value_t::number_float: write_float(value.get<double>()); return;
      case Json::value_t::string: write_text(value.get_ref<const std::string&>()); return;
      case Json::value_t::array: write_array(value, depth); return;
      case Json::value_t::object: write_object(value, depth); return;
      default: append_repr(out_, value, depth);
    }
  }

  std::string take() { return std::move(out_); }

 private:
  void write_float(double number) {
    if (std::isnan(number)) {
      out_ += "NaN";
    } else if (std::isinf(number)) {
      out_ += number > 0 ? "Infinity" : "-Infinity";
    } else {
      out_ += repr_float(number);
    }
  }

  void write_array(const Json& value, int depth) {
    if (value.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    bool first = true;
    for (const Json& item : value) {
      separate(std::exchange(first, false), depth + 1);
      write(item, depth + 1);
    }
    new_line(depth);
    out_ += ']';
  }

  void write_object(const Json& value, int depth) {
    if (value.empty()) {
      out_ += "{}";
      return;
    }
    std::vector<std::pair<const std::string*, const Json*>> members;
    for (auto it = value.begin(); it != value.end(); ++it) members.emplace_back(&it.key(), &it.value());
    if (style_.sort_keys) {
      std::stable_sort(members.begin(), members.end(),
                       [](const auto& a, const auto& b) { return *a.first < *b.first; });
    }
    out_ += '{';
    bool first = true;
    for (const auto& [key, item] : members) {
      separate(std::exchange(first, false), depth + 1);
      write_text(*key);
      out_ += ": ";
      write(*item, depth + 1);
    }
    new_line(depth);
    out_ += '}';
  }

  void separate(bool first, int depth) {
    if (!first) out_ += style_.indent < 0 ? ", " : ",";
    new_line(depth);
  }

  void new_line(int depth) {
    if (style_.indent < 0) return;
    out_ += '\n';
    out_.append(static_cast<size_t>(style_.indent) * static_cast<size_t>(depth), ' ');
  }

  void write_text(std::string_view text) {
    out_ += '"';
    for (size_t i = 0; i < text.size();) {
      const auto [value, bytes] = code_point_at(text, i);
      if (!write_short_escape(value)) {
        if (value >= 0 && (value < 0x20 || (style_.ensure_ascii && value >= 0x7f))) {
          write_unicode_escape(value);
        } else if (value < 0 && style_.ensure_ascii) {
          write_unicode_escape(0xdc00 + static_cast<unsigned char>(text[i]));  // Python's surrogateescape
        } else {
          out_.append(text, i, bytes);
        }
      }
      i += bytes;
    }
    out_ += '"';
  }

  bool write_short_escape(int32_t value) {
    switch (value) {
      case '"': out_ += "\\\""; return true;
      case '\\': out_ += "\\\\"; return true;
      case '\n': out_ += "\\n"; return true;
      case '\r': out_ += "\\r"; return true;
      case '\t': out_ += "\\t"; return true;
      case '\f': out_ += "\\f"; return true;
      case '\b': out_ += "\\b"; return true;
      default: return false;
    }
  }

  void write_unicode_escape(int32_t value) {
    if (value < 0x10000) {
      out_ += fmt::format("\\u{:04x}", value);
    } else {
      const int32_t offset = value - 0x10000;
      out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (offset >> 10), 0xdc00 + (offset & 0x3ff));
    }
  }

  JsonStyle style_;
  std::string out_;
};

}  // namespace

std::string repr_float(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  if (number == 0) return std::signbit(number) ? "-0.0" : "0.0";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, static_cast<size_t>(end - buffer));
  const size_t e = shortest.find('e');
  std::string digits;
  for (const char c : shortest.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  const int exponent = std::stoi(std::string(shortest.substr(e + 1)));
  std::string out = number < 0 ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    out += fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  } else if (exponent < 0) {
    out += "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  } else if (count <= exponent + 1) {
    out += digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  } else {
    const auto point = static_cast<size_t>(exponent + 1);
    out += digits.substr(0, point) + "." + digits.substr(point);
  }
  return out;
}

std::string repr(const Json& value) {
  std::string out;
  append_repr(out, value, 0);
  return out;
}

std::string repr_text(std::string_view text) {
  std::string out;
  append_repr_text(out, text);
  return out;
}

std::string str(const Json& value) { return value.is_string() ? value.get<std::string>() : repr(value); }

bool truth(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return false;
    case Json::value_t::boolean: return value.get<bool>();
    case Json::value_t::number_integer: return value.get<int64_t>() != 0;
    case Json::value_t::number_unsigned: return value.get<uint64_t>() != 0;
    case Json::value_t::number_float: return value.get<double>() != 0;
    case Json::value_t::string: return !value.get_ref<const std::string&>().empty();
    default: return !value.empty();
  }
}

std::string json_dumps(const Json& value, JsonStyle style) {
  JsonWriter writer(style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace evalmpi::text::python

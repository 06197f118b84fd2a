#include "charsmap.h"

#include <utf8proc.h>

#include "evalmpi/base/error.h"
#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

// Clusters of this many bytes and more are rewritten character by character.
constexpr size_t kLongCluster = 6;

// The fields of a unit of Darts' double array.
bool has_leaf(uint32_t unit) { return ((unit >> 8) & 1) == 1; }
uint32_t value_of(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000FF; }
size_t offset_of(uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit & (1U << 9)) >> 6); }

uint32_t read_u32(std::string_view bytes, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])); };
  return byte(0) | (byte(1) << 8) | (byte(2) << 16) | (byte(3) << 24);
}

// The end of the grapheme cluster that starts at `begin`.
size_t cluster_end(std::string_view text, size_t begin) {
  size_t at = begin;
  utf8proc_int32_t state = 0;
  auto before = static_cast<utf8proc_int32_t>(next_code_point(text, &at));
  while (at < text.size()) {
    size_t next = at;
    const auto c = static_cast<utf8proc_int32_t>(next_code_point(text, &next));
    if (utf8proc_grapheme_break_stateful(before, c, &state)) break;
    before = c;
    at = next;
  }
  return at;
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes, const std::string& where) : where_(where) {
  const size_t trie_bytes = bytes.size() < 4 ? 0 : read_u32(bytes, 0);
  if (trie_bytes < 4 || trie_bytes > bytes.size() - 4)
    fail(ExitCode::kBadInput, "{}: the charsmap is cut short: {} bytes, but its trie has {}", where, bytes.size(),
         trie_bytes);
  for (size_t i = 0; i < trie_bytes / 4; ++i) units_.push_back(read_u32(bytes, 4 + 4 * i));
  replacements_ = bytes.substr(4 + trie_bytes / 4 * 4);
  if (!is_valid_utf8(replacements_))
    fail(ExitCode::kBadInput, "{}: the replacements of the charsmap are not valid UTF-8", where);
  for (size_t c = 1; c < plain_.size(); ++c) {
    const char character = static_cast<char>(c);
    plain_[c] = !rule_of({&character, 1});
  }
}

uint32_t Charsmap::unit(size_t position) const {
  if (position >= units_.size())
    fail(ExitCode::kBadInput, "{}: the trie of the charsmap points outside itself", where_);
  return units_[position];
}

std::optional<std::string_view> Charsmap::rule_of(std::string_view part) const {
  size_t node = offset_of(unit(0));
  for (const char c : part) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) break;
    node ^= byte;
    const uint32_t here = unit(node);
    if (label_of(here) != byte) break;
    node ^= offset_of(here);
    if (!has_leaf(here)) continue;
    const size_t begin = value_of(unit(node));
    if (begin > replacements_.size())
      fail(ExitCode::kBadInput, "{}: a rule of the charsmap points behind its replacements", where_);
    const std::string_view replacement = std::string_view(replacements_).substr(begin);
    if (!is_valid_utf8(replacement))
      fail(ExitCode::kBadInput, "{}: a rule of the charsmap points inside a character", where_);
    return replacement.substr(0, replacement.find('\0'));
  }
  return std::nullopt;
}

void Charsmap::append_cluster(std::string_view cluster, std::string* out) const {
  if (cluster.size() < kLongCluster) {
    if (const auto replacement = rule_of(cluster)) {
      *out += *replacement;
      return;
    }
  }
  for (size_t at = 0; at < cluster.size();) {
    const size_t begin = at;
    next_code_point(cluster, &at);
    const std::string_view character = cluster.substr(begin, at - begin);
    *out += rule_of(character).value_or(character);
  }
}

std::string Charsmap::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  const auto is_ascii = [&](size_t i) { return static_cast<unsigned char>(text[i]) < 0x80; };
  size_t done = 0;  // what is before stands in `out`
  for (size_t at = 0; at < text.size();) {
    // An ASCII character joins nothing before another one, except in "\r\n".
    const bool alone = is_ascii(at) && (at + 1 == text.size() || is_ascii(at + 1)) && text[at] != '\r';
    if (alone && plain_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const size_t end = alone ? at + 1 : cluster_end(text, at);
    out += text.substr(done, at - done);
    append_cluster(text.substr(at, end - at), &out);
    at = done = end;
  }
  return out += text.substr(done);
}

}  // namespace evalmpi::text

#include "added_tokens.h"

#include <algorithm>

#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

char32_t code_point_before(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return next_code_point(text, &at);
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  size_t behind = end;
  const bool left = begin == 0 || !is_word(code_point_before(text, begin));
  const bool right = end == text.size() || !is_word(next_code_point(text, &behind));
  return left && right;
}

size_t skip_space_left(std::string_view text, size_t begin) {
  while (begin > 0) {
    const char32_t c = code_point_before(text, begin);
    if (!is_white_space(c)) break;
    begin -= c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
  }
  return begin;
}

size_t skip_space_right(std::string_view text, size_t end) {
  while (end < text.size()) {
    size_t next = end;
    if (!is_white_space(next_code_point(text, &next))) break;
    end = next;
  }
  return end;
}

}  // namespace

StringMatcher::StringMatcher() : nodes_(1) {}

void StringMatcher::insert(std::string_view content, int32_t id) {
  if (content.empty()) return;
  const auto first = static_cast<unsigned char>(content[0]);
  starts_[first] = true;
  if (content.size() == 1) {
    for (size_t second = 0; second < 256; ++second) pairs_[first * 256 + second] = true;
    alone_[first] = true;
  } else {
    pairs_[first * 256 + static_cast<unsigned char>(content[1])] = true;
  }
  uint32_t node = 0;
  for (const char c : content) {
    const auto [child, fresh] =
        nodes_[node].children.try_emplace(static_cast<unsigned char>(c), static_cast<uint32_t>(nodes_.size()));
    node = child->second;
    if (fresh) nodes_.emplace_back();
  }
  if (nodes_[node].id < 0) nodes_[node].id = id;
}

std::optional<StringMatcher::Match> StringMatcher::find(std::string_view text, size_t from) const {
  if (nodes_.size() == 1) return std::nullopt;
  for (size_t begin = from; begin < text.size(); ++begin) {
    const auto first = static_cast<unsigned char>(text[begin]);
    if (!starts_[first]) continue;
    const bool possible =
        begin + 1 < text.size() ? pairs_[first * 256 + static_cast<unsigned char>(text[begin + 1])] : alone_[first];
    if (!possible) continue;
    std::optional<Match> longest;
    uint32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      const auto child = nodes_[node].children.find(static_cast<unsigned char>(text[at]));
      if (child == nodes_[node].children.end()) break;
      node = child->second;
      if (nodes_[node].id >= 0) longest = Match{begin, at + 1, nodes_[node].id};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

void AddedTokens::add(const AddedToken& token, const Lookup& model_id, int64_t model_size) {
  if (token.content.empty()) return;
  if (token.special && special_contents_.insert(token.content).second) listed_special_.push_back(token);
  const auto known = ids_.find(token.content);
  if (known != ids_.end() && by_id_.at(known->second) == token) return;
  int32_t id = static_cast<int32_t>(model_size);
  if (known != ids_.end()) {
    id = known->second;
  } else if (const std::optional<int32_t> existing = model_id(token.content)) {
    id = *existing;
  } else if (!by_id_.empty() && by_id_.rbegin()->first >= model_size) {
    id = by_id_.rbegin()->first + 1;
  }
  ids_[token.content] = id;
  by_id_[id] = token;
  if (!is_special(token.content)) listed_.push_back(token);
}

void AddedTokens::build(const std::function<std::string(std::string_view)>& normalize) {
  for (const std::vector<AddedToken>* list : {&listed_special_, &listed_}) {
    for (const AddedToken& token : *list) {
      const int32_t id = ids_.at(token.content);
      if (token.normalized) {
        normalized_.insert(normalize(token.content), id);
      } else {
        plain_.insert(token.content, id);
      }
    }
  }
}

void AddedTokens::split(std::string_view text, bool normalized, std::vector<TextPart>* parts) const {
  const StringMatcher& matcher = normalized ? normalized_ : plain_;
  size_t done = 0;
  size_t from = 0;
  while (const std::optional<StringMatcher::Match> match = matcher.find(text, from)) {
    from = match->end;
    const AddedToken& token = by_id_.at(match->id);
    if (token.single_word && !stands_alone(text, match->begin, match->end)) continue;
    // White space that the token before has taken is not taken again.
    const size_t begin = token.left_strip ? std::max(skip_space_left(text, match->begin), done) : match->begin;
    const size_t end = token.right_strip ? skip_space_right(text, match->end) : match->end;
    if (done < begin) parts->push_back({-1, done, begin});
    parts->push_back({match->id, begin, end});
    done = end;
  }
  if (done < text.size()) parts->push_back({-1, done, text.size()});
}

std::optional<int32_t> AddedTokens::id_of(std::string_view content) const {
  const auto found = ids_.find(std::string(content));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second;
}

}  // namespace evalmpi::text

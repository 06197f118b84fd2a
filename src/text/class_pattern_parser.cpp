#include "class_pattern_parser.h"

#include <algorithm>

#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

constexpr int kMaxDepth = 4;
constexpr size_t kMaxClasses = 32;
constexpr size_t kMaxNodes = 1'000;
constexpr uint32_t kAnyFirst = ~uint32_t{0};

}  // namespace

bool ClassPatternParser::run() {
  std::vector<Sequence> branches;
  if (!alternatives(&branches, false, 0) || at_ != pattern_.size()) return false;
  out_->nodes_.emplace_back();
  out_->nodes_[0].first = kAnyFirst;
  out_->start_ = link_branches(branches, 0);
  // A pattern that may match nothing has no first character.
  return out_->nodes_.size() <= kMaxNodes && out_->nodes_[out_->start_].first != kAnyFirst;
}

bool ClassPatternParser::alternatives(std::vector<Sequence>* out, bool any_case, int depth) {
  if (depth > kMaxDepth) return false;
  out->emplace_back();
  while (at_ < pattern_.size() && peek() != ')') {
    if (take("|")) {
      out->emplace_back();
      continue;
    }
    Part part;
    if (!item(&part, any_case, depth)) return false;
    out->back().push_back(std::move(part));
  }
  return true;
}

bool ClassPatternParser::item(Part* out, bool any_case, int depth) {
  if (peek() == '(') return group(out, any_case, depth);
  const size_t bytes = atom_bytes();
  if (bytes == 0) return false;
  const std::optional<uint32_t> bit = class_bit(pattern_.substr(at_, bytes), any_case);
  if (!bit) return false;
  at_ += bytes;
  out->node.kind = ClassPattern::Node::kRun;
  out->node.class_bit = *bit;
  return quantifier(out);
}

bool ClassPatternParser::group(Part* out, bool any_case, int depth) {
  const bool negative = pattern_.substr(at_).starts_with("(?!");
  if (take("(?!") || take("(?=")) {
    const size_t bytes = atom_bytes();
    const std::optional<uint32_t> bit = bytes == 0 ? std::nullopt : class_bit(pattern_.substr(at_, bytes), any_case);
    if (!bit) return false;
    at_ += bytes;
    out->node.kind = ClassPattern::Node::kLook;
    out->node.class_bit = *bit;
    out->node.negative = negative;
    return take(")");
  }
  const bool folds = pattern_.substr(at_).starts_with("(?i:");
  if (!take("(?i:") && !take("(?:")) {
    if (!take("(") || peek() == '?' || peek() == '*') return false;
  }
  out->node.kind = ClassPattern::Node::kFork;
  if (!alternatives(&out->branches, any_case || folds, depth + 1) || !take(")")) return false;
  if (peek() == '*' || peek() == '+' || peek() == '{') return false;
  if (take("?")) {
    if (peek() == '?' || peek() == '+') return false;
    out->branches.emplace_back();
  }
  return true;
}

bool ClassPatternParser::quantifier(Part* part) {
  ClassPattern::Node& node = part->node;
  if (peek() == '{') return counts(part);
  if (take("?")) {
    node.min = 0;
  } else if (take("*")) {
    node.min = 0;
    node.max = ClassPattern::kUnlimited;
  } else if (take("+")) {
    node.max = ClassPattern::kUnlimited;
  } else {
    return true;
  }
  node.possessive = take("+");
  return peek() != '?' && peek() != '*' && peek() != '+' && peek() != '{';
}

// {n}, {n,} and {n,m}; a sign behind them means different things in different engines.
bool ClassPatternParser::counts(Part* part) {
  const auto number = [&](uint32_t* value) {
    const size_t begin = at_;
    uint32_t read = 0;
    for (; peek() >= '0' && peek() <= '9' && at_ - begin < 5; ++at_)
      read = 10 * read + static_cast<uint32_t>(peek() - '0');
    if (at_ > begin) *value = read;
    return at_ > begin;
  };
  ++at_;
  if (!number(&part->node.min)) return false;
  part->node.max = part->node.min;
  if (take(",")) {
    part->node.max = ClassPattern::kUnlimited;
    number(&part->node.max);
  }
  if (!take("}") || part->node.max < part->node.min || part->node.max == 0) return false;
  return peek() != '?' && peek() != '*' && peek() != '+' && peek() != '{';
}

size_t ClassPatternParser::atom_bytes() const {
  constexpr std::string_view kMeaning = "\\[]()|?*+{}^$.";
  const char c = peek();
  if (at_ >= pattern_.size()) return 0;
  if (c == '\\') return escape_bytes(at_);
  if (c == '[') return set_bytes();
  if (c == '.') return 1;
  if (kMeaning.find(c) != std::string_view::npos) return 0;
  size_t next = at_;
  next_code_point(pattern_, &next);
  return next - at_;
}

// \p{L}, \s, \n and escaped signs; no anchors, references or hexadecimal forms.
size_t ClassPatternParser::escape_bytes(size_t at) const {
  const char c = at + 1 < pattern_.size() ? pattern_[at + 1] : '\0';
  if (c == 'p' || c == 'P') {
    const size_t close = pattern_.find('}', at);
    return close != std::string_view::npos && pattern_[at + 2] == '{' ? close + 1 - at : 0;
  }
  constexpr std::string_view kLetters = "sSdDwWhHrntfv";
  const bool sign =
      c > ' ' && c < 0x7F && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z');
  return sign || (c != '\0' && kLetters.find(c) != std::string_view::npos) ? 2 : 0;
}

// As RegexDialect::kOniguruma reads sets: those inside add to the set around them.
size_t ClassPatternParser::set_bytes() const {
  size_t at = at_ + 1;
  if (at < pattern_.size() && pattern_[at] == '^') ++at;
  if (at < pattern_.size() && pattern_[at] == ']') ++at;
  for (int nested = 0; at < pattern_.size();) {
    const char c = pattern_[at];
    if (c == '\\') {
      at += 2;
    } else if (c == '[' && at + 1 < pattern_.size() && pattern_[at + 1] == ':') {
      return 0;
    } else if (c == ']' && nested-- == 0) {
      return at + 1 - at_;
    } else {
      if (c == '[') ++nested;
      ++at;
    }
  }
  return 0;
}

std::optional<uint32_t> ClassPatternParser::class_bit(std::string_view text, bool any_case) {
  const std::string wanted = any_case ? "(?i:" + std::string(text) + ")" : std::string(text);
  const auto found = std::find(classes_.begin(), classes_.end(), wanted);
  const auto index = static_cast<size_t>(found - classes_.begin());
  // One bit less than there are, so that no set of them equals kAnyFirst.
  if (index + 1 >= kMaxClasses) return std::nullopt;
  if (found == classes_.end()) classes_.push_back(wanted);
  return uint32_t{1} << index;
}

uint16_t ClassPatternParser::link(const Sequence& sequence, uint16_t next) {
  for (auto part = sequence.rbegin(); part != sequence.rend() && out_->nodes_.size() <= kMaxNodes; ++part) {
    if (part->node.kind == ClassPattern::Node::kFork) {
      next = link_branches(part->branches, next);
      continue;
    }
    ClassPattern::Node node = part->node;
    node.next = next;
    node.first = first_of(node);
    out_->nodes_.push_back(std::move(node));
    next = static_cast<uint16_t>(out_->nodes_.size() - 1);
  }
  return next;
}

uint16_t ClassPatternParser::link_branches(const std::vector<Sequence>& branches, uint16_t next) {
  ClassPattern::Node fork;
  fork.kind = ClassPattern::Node::kFork;
  for (const Sequence& branch : branches) fork.branches.push_back(link(branch, next));
  if (fork.branches.size() == 1) return fork.branches[0];
  fork.first = first_of(fork);
  out_->nodes_.push_back(std::move(fork));
  return static_cast<uint16_t>(out_->nodes_.size() - 1);
}

uint32_t ClassPatternParser::first_of(const ClassPattern::Node& node) const {
  using Node = ClassPattern::Node;
  uint32_t first = 0;
  if (node.kind == Node::kRun) first = node.class_bit | (node.min == 0 ? out_->nodes_[node.next].first : 0);
  // What follows a negative look must begin somewhere all the same.
  if (node.kind == Node::kLook) first = out_->nodes_[node.next].first;
  for (const uint16_t branch : node.branches) first |= out_->nodes_[branch].first;
  return first;
}

}  // namespace evalmpi::text

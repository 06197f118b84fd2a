#include "class_pattern.h"

#include <atomic>

#include "class_pattern_parser.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

constexpr size_t kNoMatch = ~size_t{0};
constexpr uint64_t kBaseWork = 100'000'000;
constexpr uint64_t kWorkPerByte = 100;

}  // namespace

// The classes of every code point, one bit each, in pages that are filled on first use.
class ClassPattern::Table {
 public:
  explicit Table(std::vector<Regex> classes) : classes_(std::move(classes)) {}
  ~Table() {
    for (std::atomic<const Page*>& page : pages_) delete page.load(std::memory_order_relaxed);
  }
  uint32_t of(char32_t c) {
    const Page* page = pages_[c >> 8].load(std::memory_order_acquire);
    if (page == nullptr) page = fill(c >> 8);
    return (*page)[c & 0xFF];
  }

 private:
  using Page = std::array<uint32_t, 256>;

  const Page* fill(char32_t index) {
    auto page = std::make_unique<Page>();
    std::string text;
    std::array<uint16_t, 1024> code_of{};
    for (char32_t i = 0; i < 256; ++i) {
      const char32_t c = (index << 8) | i;
      if (c >= 0xD800 && c < 0xE000) continue;
      code_of[text.size()] = static_cast<uint16_t>(i);
      append_utf8(&text, c);
    }
    for (size_t bit = 0; bit < classes_.size(); ++bit) {
      RegexScan scan(classes_[bit], text);
      for (ByteRange range; scan.next(&range);) (*page)[code_of[range.begin]] |= uint32_t{1} << bit;
    }
    const Page* expected = nullptr;
    if (pages_[index].compare_exchange_strong(expected, page.get())) return page.release();
    return expected;
  }

  std::vector<Regex> classes_;
  std::array<std::atomic<const Page*>, 0x1100> pages_{};
};

ClassPattern::ClassPattern() = default;
ClassPattern::ClassPattern(ClassPattern&&) noexcept = default;
ClassPattern& ClassPattern::operator=(ClassPattern&&) noexcept = default;
ClassPattern::~ClassPattern() = default;

std::optional<ClassPattern> ClassPattern::compile(std::string_view pattern, std::string_view where) {
  ClassPattern out;
  ClassPatternParser parser(pattern, &out);
  if (!parser.run()) return std::nullopt;
  out.where_ = std::string(where) + ": pattern '" + std::string(pattern) + "'";
  std::vector<Regex> classes;
  for (const std::string& text : parser.classes())
    classes.push_back(Regex::compile(text, where, RegexDialect::kOniguruma));
  out.table_ = std::make_unique<Table>(std::move(classes));
  for (char32_t c = 0; c < out.ascii_.size(); ++c) out.ascii_[c] = out.table_->of(c);
  return out;
}

uint32_t ClassPattern::look(std::string_view text, size_t at, size_t* next) const {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) {
    *next = at + 1;
    return ascii_[byte];
  }
  *next = at;
  return table_->of(next_code_point(text, next));
}

bool ClassPattern::next(std::string_view text, size_t from, ByteRange* found, uint64_t* work) const {
  const uint32_t first = nodes_[start_].first;
  for (size_t at = from; at < text.size();) {
    size_t behind = at;
    if ((look(text, at, &behind) & first) != 0) {
      const size_t end = match(start_, text, at, work);
      if (end != kNoMatch) {
        *found = {at, end};
        return true;
      }
      if (*work > kBaseWork + kWorkPerByte * text.size())
        fail(ExitCode::kBadInput, "{} needs too much work; rewrite it without neighbouring repetitions", where_);
    }
    at = behind;
  }
  return false;
}

// The end of the match of `node` and what follows it, by backtracking.
size_t ClassPattern::match(uint16_t index, std::string_view text, size_t at, uint64_t* work) const {
  while (true) {
    const Node& node = nodes_[index];
    size_t behind = at;
    switch (node.kind) {
      case Node::kAccept: return at;
      case Node::kLook: {
        const bool there = at < text.size() && (look(text, at, &behind) & node.class_bit) != 0;
        if (there == node.negative) return kNoMatch;
        index = node.next;
        break;
      }
      case Node::kFork: {
        const uint32_t here = at < text.size() ? look(text, at, &behind) : 0;
        for (const uint16_t branch : node.branches) {
          const uint32_t first = nodes_[branch].first;
          if ((here & first) == 0 && first != ~uint32_t{0}) continue;
          const size_t end = match(branch, text, at, work);
          if (end != kNoMatch) return end;
        }
        return kNoMatch;
      }
      case Node::kRun: {
        uint32_t count = 0;
        const size_t begin = at;
        while (count < node.max && at < text.size() && (look(text, at, &behind) & node.class_bit) != 0) {
          at = behind;
          ++count;
        }
        *work += at - begin;
        if (count < node.min) return kNoMatch;
        index = node.next;
        if (node.possessive || count == node.min || nodes_[index].kind == Node::kAccept) break;
        while (true) {
          const size_t end = match(index, text, at, work);
          if (end != kNoMatch || count == node.min) return end;
          ++*work;
          --count;
          --at;
          while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
        }
      }
    }
  }
}

}  // namespace evalmpi::text

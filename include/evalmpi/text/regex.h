#pragma once

// Regular expressions over UTF-8 with a bound on the work of one call, for patterns that come from task files and
// tokenizer.json. PCRE2 does the matching; the pattern is rewritten first, so that it means what it means to Python's
// `re` or to Oniguruma (the engine of the reference tokenizers).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace evalmpi::text {

// Bytes [begin, end) of the searched text. A group that took no part in the match has begin == kNoPosition.
inline constexpr size_t kNoPosition = static_cast<size_t>(-1);
struct ByteRange {
  size_t begin = kNoPosition;
  size_t end = kNoPosition;
  bool matched() const { return begin != kNoPosition; }
  bool empty() const { return begin == end; }
  std::string_view of(std::string_view text) const {
    return matched() ? text.substr(begin, end - begin) : std::string_view();
  }
  bool operator==(const ByteRange&) const = default;
};

// groups[0] is the whole match, groups[i] the i-th parenthesis; always 1 + Regex::group_count() entries.
struct RegexMatch {
  std::vector<ByteRange> groups;
  ByteRange whole() const { return groups[0]; }
};

// Whose meaning a pattern has. Both are Unicode-aware: \s, \d, \w and \b follow the engine's own tables.
//   kPython     \s as str.isspace, \w as str.isalnum or "_", \Z is the very end, \uXXXX, {,n}, "[" is literal in a set
//   kOniguruma  Ruby syntax: ^ and $ at every line, \h is a hex digit, (?m) lets "." match a newline; \s is
//   White_Space.
//               Set operations inside brackets (&& and nested sets) are refused.
enum class RegexDialect { kPython, kOniguruma };

struct RegexFlags {
  bool ignore_case = false;  // re.IGNORECASE
  bool multi_line = false;   // re.MULTILINE
  bool dot_all = false;      // re.DOTALL
};

// A compiled pattern; move-only. All const functions may be called from any number of threads at once.
//
// Texts must be valid UTF-8. Every function below that takes a text FAILS with kBadInput if it is not, or if the
// pattern needs more backtracking, memory or (about one second of) processor time than a sensible pattern does; the
// message holds the pattern and where it came from.
class Regex {
 public:
  // `where` names the pattern's origin in messages ("gsm8k.yaml: filter_list[0]").
  // FAILS: kBadInput with the position and PCRE2's words; patterns longer than 64 KiB.
  static Regex compile(std::string_view pattern, std::string_view where, RegexDialect dialect = RegexDialect::kPython,
                       RegexFlags flags = {});

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // re.search: the leftmost match that starts at byte `from` (a character boundary) or later.
  std::optional<RegexMatch> search(std::string_view text, size_t from = 0) const;
  // re.match: only at byte 0.   re.fullmatch: byte 0 to the end.
  std::optional<RegexMatch> match(std::string_view text) const;
  std::optional<RegexMatch> full_match(std::string_view text) const;

  // re.finditer, with Python's rule for empty matches: "x*" on "axb" matches "", "x", "", "".
  // FAILS also: kBadInput above max_matches.
  std::vector<RegexMatch> find_all(std::string_view text, size_t max_matches = size_t{1} << 24) const;

  // re.findall where the pattern has at most one group: the texts of group 1, or of the whole match without groups; ""
  // for a group that took no part.
  std::vector<std::string> find_all_texts(std::string_view text) const;

  // re.sub: every match replaced. The replacement may hold \1 .. \99, \g<1>, \g<name>, \g<0>, \\ and the escapes
  // \a \b \f \n \r \t \v and octal, as in Python. FAILS also: kBadInput on a group that does not exist or another
  // escaped letter.
  std::string replace_all(std::string_view text, std::string_view replacement) const;

  // re.split with maxsplit 0: the pieces between matches, and between them the texts of all groups.
  std::vector<std::string> split(std::string_view text) const;

  size_t group_count() const;
  // The number of a named group. nullopt if there is none.
  std::optional<size_t> group_index(std::string_view name) const;
  const std::string& pattern() const;

 private:
  friend class RegexScan;
  struct Impl;
  explicit Regex(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Walks over the matches of one text without allocating: the inner loop of a tokenizer. The pattern and the text, which
// must be valid UTF-8 and is not checked, outlive it. An empty match right after the match before it does not count
// (Oniguruma's rule). The bound on processor time holds for the whole scan.
class RegexScan {
 public:
  RegexScan(const Regex& regex, std::string_view text) : regex_(&regex), text_(text) {}
  // False at the end. FAILS: kBadInput as Regex.
  bool next(ByteRange* whole);

 private:
  const Regex* regex_;
  std::string_view text_;
  size_t position_ = 0;
  size_t last_end_ = kNoPosition;
  uint64_t count_ = 0;
  double cpu_start_seconds_ = -1;
};

// re.escape: the text as a pattern that matches itself.
std::string escape_regex(std::string_view text);

}  // namespace evalmpi::text

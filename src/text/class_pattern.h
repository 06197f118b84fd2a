#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/text/regex.h"

namespace evalmpi::text {

// A regular expression made of character classes, repetitions, alternatives and a look at the next character, as the
// patterns of pre-tokenizers are: matched by a table of classes, several times faster than by PCRE2 and with the same
// matches, since PCRE2 itself fills the table.
class ClassPattern {
 public:
  // nullopt for a pattern that holds anything else (anchors, references, lazy repetitions, repeated groups) or could
  // match nothing. `pattern` is one that Regex accepts in Oniguruma's dialect.
  static std::optional<ClassPattern> compile(std::string_view pattern, std::string_view where);

  ClassPattern(ClassPattern&&) noexcept;
  ClassPattern& operator=(ClassPattern&&) noexcept;
  ~ClassPattern();

  // Whether the leftmost match at or after `from` was found; `text` is valid UTF-8. `work` starts at 0 for each text.
  // FAILS: kBadInput if the text needs far more steps than a sensible pattern does.
  bool next(std::string_view text, size_t from, ByteRange* found, uint64_t* work) const;

 private:
  friend class ClassPatternParser;
  static constexpr uint32_t kUnlimited = ~uint32_t{0};

  // One step of the match; the steps form a graph whose sink is the step 0.
  struct Node {
    enum Kind : uint8_t { kAccept, kRun, kLook, kFork };
    Kind kind = kAccept;
    bool negative = false;    // of kLook: the class must not follow
    bool possessive = false;  // of kRun
    uint32_t class_bit = 0;
    uint32_t min = 1;
    uint32_t max = 1;
    uint32_t first = 0;  // classes that the first character must meet one of; all bits where that is not known
    uint16_t next = 0;
    std::vector<uint16_t> branches;  // of kFork, in the order of preference
  };
  class Table;

  ClassPattern();
  size_t match(uint16_t node, std::string_view text, size_t at, uint64_t* work) const;
  // The classes of the character at `at` and where the next one begins.
  uint32_t look(std::string_view text, size_t at, size_t* next) const;

  std::string where_;
  std::vector<Node> nodes_;
  uint16_t start_ = 0;
  std::unique_ptr<Table> table_;
  std::array<uint32_t, 128> ascii_{};
};

}  // namespace evalmpi::text

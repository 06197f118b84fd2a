#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "class_pattern.h"

namespace evalmpi::text {

// Reads a pattern into ClassPattern's steps.
class ClassPatternParser {
 public:
  ClassPatternParser(std::string_view pattern, ClassPattern* out) : pattern_(pattern), out_(out) {}
  // False where the pattern is of another shape.
  bool run();
  // The classes in the order of their bits, each a pattern of one character.
  const std::vector<std::string>& classes() const { return classes_; }

 private:
  // A part of the pattern before it is linked to what follows it.
  struct Part {
    ClassPattern::Node node;
    std::vector<std::vector<Part>> branches;  // of a group
  };
  using Sequence = std::vector<Part>;

  bool alternatives(std::vector<Sequence>* out, bool any_case, int depth);
  bool item(Part* out, bool any_case, int depth);
  bool group(Part* out, bool any_case, int depth);
  bool quantifier(Part* part);
  bool counts(Part* part);
  // The length of one character or class at the place, 0 where it is none.
  size_t atom_bytes() const;
  size_t escape_bytes(size_t at) const;
  size_t set_bytes() const;
  std::optional<uint32_t> class_bit(std::string_view text, bool any_case);
  uint16_t link(const Sequence& sequence, uint16_t next);
  uint16_t link_branches(const std::vector<Sequence>& branches, uint16_t next);
  uint32_t first_of(const ClassPattern::Node& node) const;

  char peek(size_t ahead = 0) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  bool take(std::string_view text) {
    if (!pattern_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }

  std::string_view pattern_;
  ClassPattern* out_;
  size_t at_ = 0;
  std::vector<std::string> classes_;
};

}  // namespace evalmpi::text

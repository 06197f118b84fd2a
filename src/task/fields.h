#pragma once

// doc_to_text, doc_to_target, doc_to_choice and their kin: what a document gives for a field of a task file.

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/text/jinja.h"
#include "native_functions.h"

namespace evalmpi::task {

using Columns = std::set<std::string, std::less<>>;

// A field made ready: a column, a template, a native function, or a fixed value.
class Field {
 public:
  Field() = default;

  // `spec` is null, text, a `!function` that has a twin, or a value as it stands. A text that is the name of a column
  // is that column, never a template. FAILS: kBadInput with `where` for a template that does not parse.
  static Field compile(const Json& spec, const Columns& columns, const std::string& where);

  bool exists() const { return kind_ != Kind::kNone; }
  // Whether what it gives stays as it is; only what a template renders is read further.
  bool is_final() const { return kind_ == Kind::kColumn || kind_ == Kind::kFunction; }

  // The column's value, the rendered text, or the fixed value. FAILS: kBadInput.
  Json value(const Json& document) const;

  // As value, but what a template of one expression evaluates to is not turned into text.
  Json evaluated(const Json& document) const;

  // Text only: the column's value or the rendered text. FAILS: kBadInput when it is not text.
  std::string text(const Json& document) const;

  const std::string& where() const { return where_; }

 private:
  enum class Kind { kNone, kColumn, kTemplate, kFunction, kValue };
  const Json& column(const Json& document) const;

  Kind kind_ = Kind::kNone;
  std::string where_;
  std::string name_;
  Json value_;
  std::optional<text::Template> template_;
  BoundFunction function_;
};

// doc_to_text: text, or an index where choices exist and the text is all digits.
Json question_of(const Field& field, const Json& document, bool has_choices);

// doc_to_target: text, an index as for question_of, or a list where the text reads as a Python list.
Json target_of(const Field& field, const Json& document, bool has_choices);

// doc_to_choice: the texts of the choices.
std::vector<std::string> choices_of(const Field& field, const Json& document);

}  // namespace evalmpi::task

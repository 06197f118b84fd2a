#pragma once

// Templates of task files and chat templates: the part of Jinja2 that they use, with Jinja2's results.
//
// Statements: if/elif/else, for (with else, if, tuple targets, loop.index, index0, revindex, revindex0, first,
//   last, length, previtem, nextitem, cycle), set (names, tuple targets, namespace attributes, blocks), macro with
//   defaults, generation (its body), raw, comments, whitespace control with - and +.
// Expressions: literals of text, numbers, lists, tuples, dicts; + - * / // % ** ~; comparisons; in, not in;
//   and, or, not; is, is not; a if b else c; x.y, x['y'], x[0], slices; calls; filters.
// Filters: abs, capitalize, count, d, default, dictsort, e, escape, first, float, indent, int, items, join, last,
//   length, list, lower, map, max, min, regex_replace, reject, rejectattr, replace, reverse, round, safe, select,
//   selectattr, sort, string, sum, title, tojson, trim, unique, upper.
// Tests: boolean, defined, divisibleby, eq, equalto, even, false, float, ge, gt, in, integer, iterable, le, lower,
//   lt, mapping, ne, none, number, odd, sameas, sequence, string, true, undefined, upper.
// Methods: of text capitalize, count, endswith, find, format, index, isdigit, join, lower, lstrip, replace, rfind,
//   rsplit, rstrip, split, splitlines, startswith, strip, title, upper; of lists index, count, append, pop; of
//   dicts get, items, keys, values. Functions: range, namespace, dict, raise_exception.
// Anything else is an error that names it. A missing variable is an error (StrictUndefined) unless tested.

#include <cstdint>
#include <memory>
#include <string>

#include "evalmpi/base/json.h"

namespace evalmpi::text {

// trim_blocks drops the newline after a statement, lstrip_blocks the spaces before one, as Jinja2's environment
// options do. Task files use neither, chat templates both.
struct TemplateOptions {
  bool trim_blocks = false;
  bool lstrip_blocks = false;
};

// A parsed template. Copies share the parsed form; rendering is const and safe from several threads.
class Template {
 public:
  // `where` names the template in messages ("arc_easy.yaml: doc_to_text"). A trailing newline is kept.
  // FAILS: kBadInput with where and line on a syntax error, on an unknown statement, filter or test, on more than
  // 1 MiB of source or nesting deeper than 100.
  static Template parse(std::string source, std::string where, TemplateOptions options = {});

  // The text that the template makes of `variables` (an object). Values that are not text print as python::str.
  // FAILS: kBadInput with where and line, when a variable is missing, an operation does not fit its operands,
  // raise_exception is called (with its text), after 10 million steps, or above 64 MiB of output.
  std::string render(const Json& variables) const;

  // When the template is one {{ expression }} and nothing else: its value (a list stays a list). Else the
  // rendered text as a Json string. FAILS: as render.
  Json evaluate(const Json& variables) const;

  // Whether the source has no tag at all, so that it renders to itself.
  bool is_plain_text() const;

  const std::string& source() const;

  struct Parsed;

 private:
  explicit Template(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}
  std::shared_ptr<const Parsed> parsed_;
};

}  // namespace evalmpi::text

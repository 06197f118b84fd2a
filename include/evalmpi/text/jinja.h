#pragma once

// Templates of task files and chat templates: the part of Jinja2 that they use, with Jinja2's results.
//
// Statements: if/elif/else, for (with else, if, tuple targets, break, continue; loop.index, index0, revindex,
//   revindex0, first, last, length, previtem, nextitem, cycle), set (names, tuple targets, namespace attributes,
//   blocks), macro, generation (its body), raw, comments, whitespace control with - and +.
// Expressions: literals of text, numbers, lists, tuples, dicts; + - * / // % ** ~; chained comparisons; in, not in;
//   and, or, not; is, is not; a if b else c; x.y, x['y'], x[0], slices; calls; filters.
// Filters: abs, capitalize, count, d, default, dictsort, first, float, format, indent, int, items, join, last,
//   length, list, lower, map, max, min, reject, regex_replace, rejectattr, replace, reverse, round, select, selectattr,
//   sort, string, sum, title, tojson, trim, unique, upper, wordcount.
// Tests: boolean, callable, defined, divisibleby, eq, equalto, even, false, float, ge, gt, greaterthan, in, integer,
//   iterable, le, lower, lt, lessthan, mapping, ne, none, number, odd, sameas, sequence, string, true, undefined,
//   upper, and the comparison signs.
// Methods: of text capitalize, center, count, endswith, find, format, index, isalnum, isalpha, isascii, isdecimal,
//   isdigit, islower, isspace, isupper, join, ljust, lower, lstrip, partition, removeprefix, removesuffix,
//   replace, rfind, rindex, rjust, rpartition, rsplit, rstrip, split, splitlines, startswith, strip, swapcase, title,
//   upper, zfill;
//   of lists index, count; of dicts get, items, keys, values.
// Functions: range, namespace, dict, raise_exception, strftime_now.
// Anything else is an error that names it: no statement, filter or value is passed over in silence.

#include <cstdint>
#include <memory>
#include <string>

#include "evalmpi/base/json.h"

namespace evalmpi::text {

// How the environment is set. The defaults are those of lm-evaluation-harness's task files.
struct TemplateOptions {
  bool trim_blocks = false;           // drop the newline after a statement or comment
  bool lstrip_blocks = false;         // drop the spaces before a statement or comment that starts a line
  bool keep_trailing_newline = true;  // keep a newline that ends the source
  bool strict_undefined = true;       // a missing variable is an error; else it is empty and false
  bool html_safe_json = true;         // tojson sorts keys and escapes < > & '; else it is json.dumps as transformers

  // The environment that transformers gives to chat templates.
  static TemplateOptions chat() { return {true, true, false, false, false}; }
};

// What strftime_now takes for now, seconds since 1970: before the first call the present time. All processes of a job,
// and those that go on with it on another day, must say the same in their prompts. Any thread, before templates are
// rendered.
void fix_strftime_now(int64_t unix_seconds);

// A parsed template. Copies share the parsed form; rendering is const and safe from several threads.
class Template {
 public:
  // `where` names the template in messages ("arc_easy.yaml: doc_to_text").
  // FAILS: kBadInput with where and line on a syntax error, on an unknown statement, filter or test, on more than
  // 1 MiB of source, on brackets or statements nested deeper than 100 or a chain of more than 500 operators.
  static Template parse(std::string source, std::string where, TemplateOptions options = {});

  // The text that the template makes of `variables` (an object). Values that are not text print as Python's str().
  // FAILS: kBadInput with where and line, when a variable is missing, an operation does not fit its operands, an
  // integer leaves int64, a generator would be printed, raise_exception is called (with its text), after 10 million
  // steps, or above 64 MiB of text.
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

#pragma once

// What Python 3 does with strings, lists and numbers, on Json values and UTF-8 text. Task files, templates and
// hashes of lm-evaluation-harness depend on it to the byte.
//
// A Json value stands for the Python object that json.loads would give: null is None, an array is a list (a
// tuple reads and prints as a list), an object is a dict with string keys in insertion order. Strings are
// counted, indexed and sliced by code point. Text that is not valid UTF-8 is taken byte by byte: each invalid
// byte counts as one character and is copied unchanged.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::text::python {

// str(value): text itself for a string, repr(value) for all else.
std::string str(const Json& value);

// repr(value): 'text' with Python's choice of quotes and escapes, True, False, None, [1, 'a'], {'k': 1.0}.
// Numbers above the range of int64 print as integers; floats as repr_float.
std::string repr(const Json& value);

// repr(text) of a string.
std::string repr_text(std::string_view text);

// repr(number): the shortest decimal that reads back as the same double: 1.0, 0.1, 1e-07, 1e+16, inf, nan.
std::string repr_float(double number);

// bool(value): false for None, False, 0, 0.0, "", [] and {}.
bool truth(const Json& value);

// len(text): code points.
size_t length(std::string_view text);

// The code points of text, each as the UTF-8 bytes it has in text.
std::vector<std::string_view> code_points(std::string_view text);

// text[start:stop:step] by code point, with Python's rules for absent, negative and too large bounds.
// FAILS: kBadInput when step is 0.
std::string slice(std::string_view text, std::optional<int64_t> start, std::optional<int64_t> stop,
                  std::optional<int64_t> step = {});

// The positions that [start:stop:step] picks from a sequence of `size` items, in order. FAILS: as slice.
std::vector<int64_t> slice_positions(int64_t size, std::optional<int64_t> start, std::optional<int64_t> stop,
                                     std::optional<int64_t> step = {});

// text.strip(), .lstrip(), .rstrip(): without `characters`, what str.isspace() calls space (Unicode); with
// them, any of these code points.
std::string strip(std::string_view text, std::optional<std::string_view> characters = {});
std::string lstrip(std::string_view text, std::optional<std::string_view> characters = {});
std::string rstrip(std::string_view text, std::optional<std::string_view> characters = {});

// text.split(): pieces between runs of Unicode space, none empty. At most `max_splits` splits unless negative.
std::vector<std::string> split(std::string_view text, int64_t max_splits = -1);

// text.split(separator): FAILS: kBadInput when separator is empty.
std::vector<std::string> split(std::string_view text, std::string_view separator, int64_t max_splits = -1);

// separator.join(pieces)
std::string join(const std::vector<std::string>& pieces, std::string_view separator);

// text.replace(from, to, count); an empty `from` matches between all code points, as in Python.
std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t max_count = -1);

// text.find(part): position in code points of the first occurrence.
std::optional<size_t> find(std::string_view text, std::string_view part);

// Case changes with Unicode's full mappings ("ß".upper() is "SS") and the final sigma.
std::string lower(std::string_view text);
std::string upper(std::string_view text);
std::string capitalize(std::string_view text);  // first character title case, all others lower case
std::string title(std::string_view text);

// str.isspace() and str.isdigit() of one code point or a whole text (false for an empty one).
bool is_space(int32_t code_point);
bool is_digit(std::string_view text);

// How json_dumps writes. The defaults are those of Python's json.dumps.
struct JsonStyle {
  int indent = -1;  // spaces per level; negative: all on one line with ", " and ": "
  bool ensure_ascii = true;
  bool sort_keys = false;
};

// json.dumps(value): NaN, Infinity and -Infinity as Python writes them; floats as repr_float; byte-equal to
// Python's, which lm-evaluation-harness hashes (doc_hash: indent 2, ensure_ascii false).
std::string json_dumps(const Json& value, JsonStyle style = {});

// ast.literal_eval(text) for None, True, False, numbers, strings (with all prefixes but b and f, adjacent ones
// joined), lists, tuples (as lists) and dicts. Nothing when text is not such a literal, nests deeper than 100,
// holds an integer outside int64 or uint64, a number with an imaginary part, a set, bytes, or a dict key that
// is not a string.
std::optional<Json> parse_literal(std::string_view text);

}  // namespace evalmpi::text::python

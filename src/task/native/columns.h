#pragma once

// Columns of a document as a twin needs them. All FAIL with kBadInput naming the column when it is missing or of
// another kind.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::task::native {

const Json& value_of(const Json& document, std::string_view column);
const std::string& text_of(const Json& document, std::string_view column);
int64_t integer_of(const Json& document, std::string_view column);
double number_of(const Json& document, std::string_view column);
const Json& list_of(const Json& document, std::string_view column);
std::vector<std::string> texts_of(const Json& document, std::string_view column);

// The texts of a list that stands in the column `outer`, under the key `inner`.
std::vector<std::string> texts_of(const Json& document, std::string_view outer, std::string_view inner);

// int(value) of Python for an integer or a text of digits.
int64_t parsed_integer(const Json& document, std::string_view column);

// The position of a capital letter among the first `n_letters`.
int64_t letter_position(const Json& document, std::string_view column, int64_t n_letters);

// The list that a column holds as Python writes it.
Json literal_list(const Json& document, std::string_view column);

// str.format with a document's columns: {name} and, of a list or of a text that is one in Python's words, {name[0]}.
std::string formatted(std::string_view text, const Json& document);

// datasets.map: `change` adds and replaces columns of every row. Failures name the row.
void map_rows(std::vector<std::string>& columns, std::vector<Json>& rows, const std::function<void(Json& row)>& change);

// datasets.filter. Failures name the row.
void keep_rows(std::vector<Json>& rows, const std::function<bool(const Json& row)>& keep);

// The log-likelihoods of responses [log-likelihood, is_greedy].
std::vector<double> log_likelihoods(const std::vector<Json>& responses);

// The one text that the filters left. FAILS also for anything else.
const std::string& only_text(const std::vector<Json>& responses);

// numpy.argmax: the first largest; a NaN is larger than all.
size_t argmax(const std::vector<double>& values);

}  // namespace evalmpi::task::native

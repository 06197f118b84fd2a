#pragma once

// Gives JSON rows one shape, as reading them into Arrow does.

#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {

// Whose rules of types hold.
enum class Inference {
  kArrow,   // JSON lines and lists
  kPandas,  // the value of `field`
};

// Makes rows (objects) hold the same columns in order of first appearance, absent ones null; integers become floats
// where a column also has floats or integers above int64. Values of kinds that do not fit one another stay as they are
// (`datasets` 5 keeps such columns as JSON).
// kArrow: nested objects with different keys stay as they are; a column (or nested list or member) of texts that are
//   all a date or a time to the second (2024-02-29, 2024-02-29T12:30:05Z) becomes datetimes in UTC, which are
//   Python's text of them here: "2024-02-29 00:00:00".
// kPandas: nested objects get the keys of all, absent ones null; a column of floats that are all whole is of integers.
// FAILS: kBadInput naming `where` above 10,000 columns or 200 million cells.
Table conform(std::vector<Json> rows, const std::string& where, Inference inference);

}  // namespace evalmpi::data

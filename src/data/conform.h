#pragma once

// Gives JSON rows one shape, as reading them into Arrow does.

#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {

// Makes rows (objects) hold the same columns in order of first appearance, absent ones null; integers become floats
// where a column also has floats. Nested objects with different keys, and values of kinds that do not fit one another,
// stay as they are (`datasets` 5 keeps such columns as JSON). FAILS: kBadInput naming `where` above 10,000 columns or
// 200 million cells.
Table conform(std::vector<Json> rows, const std::string& where);

}  // namespace evalmpi::data

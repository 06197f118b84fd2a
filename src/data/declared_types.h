#pragma once

// Types that a dataset's README.md declares (dataset_info: features).

#include <string>

#include "evalmpi/base/json.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {

// Gives the table the declared columns in the declared order, and casts their scalars as `datasets` does: class
// names to class numbers, numbers to text, integers to floats, text to numbers. Declarations of other kinds (lists,
// structs, images) leave the values as they are. FAILS: kBadInput naming `source`, column and row.
void apply_declared_types(Table& table, const Json& features, const std::string& source);

}  // namespace evalmpi::data

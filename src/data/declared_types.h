#pragma once

// Types that a dataset's README.md declares (dataset_info: features).

#include <string>

#include "evalmpi/base/json.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {

// Gives the table the declared columns in the declared order, and casts their values, also inside lists and structs, as
// `datasets` does: class names to class numbers, numbers to text, integers to floats, text to numbers. Members that a
// struct lacks are null. Declarations of other kinds (images, timestamps) leave the values as they are.
// FAILS: kBadInput naming `source`, column and row.
void apply_declared_types(Table& table, const Json& features, const std::string& source);

}  // namespace evalmpi::data

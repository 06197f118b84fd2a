#pragma once

// F1 over any number of classes, as scikit-learn computes it.

#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::task::native {

// values: [gold, prediction]. One score for each class that stands in them, in the order of the classes.
// FAILS: kBadInput for other values.
std::vector<double> f1_of_classes(const std::vector<Json>& values);

}  // namespace evalmpi::task::native

#pragma once

// Filter classes of Python modules beside task files (`function: !function utils.WordSortFilter`) that evalmpi has
// itself.

#include <optional>
#include <span>
#include <string>

#include "filter_steps.h"

namespace evalmpi::task::native {

// The step that a class makes of its arguments. FAILS: kBadInput.
using MakeFilter = FilterApply (*)(FilterArguments& arguments);

struct FilterClass {
  const char* name;  // as NativeFunction::name
  MakeFilter make;
};
std::span<const FilterClass> filter_classes();

// The row that a class's function_path means; null when there is none.
const FilterClass* find_filter_class(const std::string& path);

}  // namespace evalmpi::task::native

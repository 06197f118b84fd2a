#pragma once

// The functions that the table in native_functions.cpp names.

#include <string>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::task::native {

void hellaswag_process_docs(std::vector<std::string>& columns, std::vector<Json>& rows);

}  // namespace evalmpi::task::native

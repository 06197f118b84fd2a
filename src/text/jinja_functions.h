#pragma once

// The functions that a template may call by name: range, dict, namespace, raise_exception, strftime_now.

#include <string>
#include <string_view>

#include "jinja_filters.h"
#include "jinja_value.h"

namespace evalmpi::text::jinja {

bool is_function(std::string_view name);

// REQUIRES: is_function(name). Throws Problem.
Value call_function(const std::string& name, const Arguments& arguments, Budget& budget);

}  // namespace evalmpi::text::jinja

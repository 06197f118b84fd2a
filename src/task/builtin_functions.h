#pragma once

// The functions of Python modules beside task files that evalmpi has itself. A `!function` is known by the folder of
// the file that writes it, module and name: "hellaswag/utils.process_docs".

#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::task {

bool is_function(const Json& value);

// "hellaswag/utils.process_docs" of a function value.
std::string function_identity(const Json& function);

// Whether process_documents knows it.
bool is_builtin_process_docs(const std::string& identity);

// The rows after process_docs, columns included. FAILS: kBadInput naming row and column when a row does not have what
// the function reads.
void process_documents(const std::string& identity, std::vector<std::string>& columns, std::vector<Json>& rows);

}  // namespace evalmpi::task

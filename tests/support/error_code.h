#pragma once

#include <string>

#include "evalmpi/base/error.h"

namespace evalmpi {

// The exit code of the Error that `action` throws, kComplete if it throws none.
template <typename Action>
ExitCode code_of(Action&& action, std::string* message = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.code();
  }
  return ExitCode::kComplete;
}

}  // namespace evalmpi

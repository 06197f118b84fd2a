#pragma once

// Phase borders: either the phase succeeded on every member of a group, or all of them throw the same first cause.

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "evalmpi/base/error.h"
#include "evalmpi/comm/communicator.h"

namespace evalmpi::comm {

// An error that all members of a group have agreed on. The message names phase, rank and host.
class SharedError : public Error {
 public:
  SharedError(ExitCode code, const std::string& message, bool is_reporter)
      : Error(code, message), is_reporter_(is_reporter) {}
  // True on exactly one member of the group: the one that prints the message.
  bool is_reporter() const noexcept { return is_reporter_; }

 private:
  bool is_reporter_;
};

// What one member's part of a phase came to.
struct Failure {
  ExitCode code = ExitCode::kInternal;
  std::string message;
  bool is_shared = false;  // it was a SharedError already, and its message is complete
};

// The exception being handled, as a Failure. Out of memory is kUnavailable, a foreign exception kInternal.
Failure current_failure() noexcept;

// COLLECTIVE. Throws SharedError on all members when any passes a failure: that of the lowest rank.
void agree(Communicator& group, std::string_view phase, const std::optional<Failure>& mine);

// COLLECTIVE: runs f on every member and returns its result; if f threw on one, all throw a SharedError. f must not
// wait for other members of the group after a step that can fail on one of them alone.
template <class F>
auto run_together(Communicator& group, std::string_view phase, F f) -> std::invoke_result_t<F&> {
  using Result = std::invoke_result_t<F&>;
  std::optional<Failure> failure;
  if constexpr (std::is_void_v<Result>) {
    try {
      f();
    } catch (...) {
      failure = current_failure();
    }
    agree(group, phase, failure);
  } else {
    std::optional<Result> result;
    try {
      result.emplace(f());
    } catch (...) {
      failure = current_failure();
    }
    agree(group, phase, failure);
    return std::move(*result);
  }
}

}  // namespace evalmpi::comm

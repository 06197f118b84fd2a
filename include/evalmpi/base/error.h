#pragma once

// The one exception type of evalmpi and the exit codes that scripts may rely on.

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace evalmpi {

// What the process returns. The values follow sysexits.h where it has one, so that batch scripts can
// tell "run again" (75) from "do not" (2, 65, 66, 78).
enum class ExitCode : int {
  kComplete = 0,       // complete and verified
  kUsage = 2,          // an option, a job file or a layout that cannot be
  kBadInput = 65,      // an input file is damaged or does not fit
  kMissingInput = 66,  // an input file does not exist
  kUnavailable = 69,   // a device or an API cannot be used
  kInternal = 70,      // evalmpi's own fault
  kCannotWrite = 73,   // the output cannot be created, or another run holds it
  kIo = 74,            // reading or writing failed; disk full
  kStoppedEarly = 75,  // stopped by a signal or the clock; progress is saved: run again
  kMismatch = 78,      // the configuration is not that of the run to be resumed
};

// A failure with the exit code it leads to. The message is one sentence that names the file and place and,
// where there is one, the remedy.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

// Throws Error(code) with a message formatted as by fmt::format.
template <typename... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error(kInternal) naming the file and line when an invariant of our own does not hold. Stays in
// release builds; never use it for input, which gets fail() with a message for the user.
#define EVALMPI_CHECK(condition) \
  ((condition)                   \
       ? static_cast<void>(0)    \
       : ::evalmpi::fail(::evalmpi::ExitCode::kInternal, "{}:{}: this must hold: {}", __FILE__, __LINE__, #condition))

}  // namespace evalmpi

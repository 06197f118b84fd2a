#pragma once

// Which process is which, also when a number is given out again.

#include <cstdint>
#include <string>

namespace evalmpi {

// Clock ticks from boot to the start of the process: with the pid it names a process for ever. Empty if there is none,
// or only a dead one that its parent has not collected.
std::string process_start(int64_t pid);

// Pids of one number are one process only within the same of these.
std::string pid_namespace();

}  // namespace evalmpi

#pragma once

// One function per command. Each takes the arguments after the command's name and returns the exit code.
// FAILS: Error (main prints it and returns its code).

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "evalmpi/base/error.h"

namespace evalmpi::cli {

struct Invocation {
  std::vector<std::string> arguments;
  std::chrono::steady_clock::time_point process_start;
  mode_t user_umask = 022;  // what was set before main made all files private
};

ExitCode eval_command(const Invocation& invocation);
ExitCode generate_command(const Invocation& invocation);
ExitCode logprobs_command(const Invocation& invocation);
ExitCode fetch_command(const Invocation& invocation);
ExitCode plan_command(const Invocation& invocation);
ExitCode inspect_command(const Invocation& invocation);
ExitCode convert_command(const Invocation& invocation);
// Also returns 1: the two differ.
ExitCode compare_command(const Invocation& invocation);
ExitCode report_command(const Invocation& invocation);
ExitCode score_command(const Invocation& invocation);
// With --watch also returns the run's own code.
ExitCode status_command(const Invocation& invocation);
ExitCode tasks_command(const Invocation& invocation);
ExitCode ls_command(const Invocation& invocation);        // tasks list in lm_eval's words
ExitCode validate_command(const Invocation& invocation);  // tasks validate in lm_eval's words

// `evalmpi` without a command: the job file in EVALMPI_JOB, else the demo that comes with the program.
ExitCode default_command(const Invocation& invocation);

}  // namespace evalmpi::cli

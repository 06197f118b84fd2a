#pragma once

// Options from the command line and from a job file, into the structs that list their fields.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evalmpi/base/fields.h"

namespace evalmpi::cli {

using Values = std::map<std::string, std::vector<std::string>>;  // option name -> values in order

struct CommandLine {
  Values values;
  std::vector<std::string> positionals;
  bool wants_help = false;
};

// Underscores in option names count as dashes; a switch `x` also has --no-x; -h is --help. An option that takes more
// values takes all words up to the next option, so that a job file stands before it.
// FAILS: kUsage naming an unknown option and the nearest one, or an option without its value.
CommandLine parse_command_line(const std::vector<std::string>& arguments, const std::vector<Field>& fields);

// A job file: a YAML mapping from option names to values, lists and true/false. Relative paths are relative to its
// folder. FAILS: kMissingInput; kUsage naming file and line for what is no mapping, unknown options (with the nearest)
// and nested values.
Values read_job_file(const std::filesystem::path& file, const std::vector<Field>& fields);

// Sets the fields: the command line's values before the job file's. FAILS: kUsage as Field::set.
void apply(const Values& job, const Values& command_line, std::vector<Field>& fields);

// For a command that takes so many folders as `names` ("IN", "OUT") has: theirs, after `fields` are set. nullopt when
// nothing is left to do: help was printed (usage, then options), or another process of the launcher does the work.
// FAILS: kUsage as the two above, and for another number of folders.
std::optional<std::vector<std::string>> read_folders(const std::string& command,
                                                     const std::vector<std::string>& arguments, const char* usage,
                                                     const std::vector<std::string>& names, std::vector<Field>& fields);

// The options for --help, wrapped to 100 columns, in groups by what they affect.
std::string describe(const std::vector<Field>& fields);

}  // namespace evalmpi::cli

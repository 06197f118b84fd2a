#pragma once

// status.json: what scripts read instead of exit codes, which launchers change. Always whole: it is replaced, never
// written in place. "state" is one of
//   starting, running    an attempt is (or was, if it died) at work
//   stopped              stopped early, progress is saved: run again
//   failed               "exit_code" and "error" say why
//   complete             everything is published and verified; written last of all files

#include <filesystem>
#include <optional>

#include "evalmpi/base/json.h"

namespace evalmpi::store {

// REQUIRES: status is an object with a "state" of the list above. "time" (UTC, ISO 8601) is added.
// FAILS: kCannotWrite, kIo.
void write_status(const std::filesystem::path& directory, Json status);

// nullopt if there is none. FAILS: kBadInput, kIo.
std::optional<Json> read_status(const std::filesystem::path& directory);

// Whether the directory's last word is "complete".
bool is_complete(const std::filesystem::path& directory);

}  // namespace evalmpi::store

#pragma once

// The files of a run, made anew from its logs and manifest. Rank 0's work without ranks, weights and MPI.

#include <filesystem>

namespace evalmpi::eval {

// Publishes into `directory`, an absolute path, and changes the working directory to the one that the run was started
// in. FAILS: as report().
void rebuild_run(const std::filesystem::path& directory);

}  // namespace evalmpi::eval

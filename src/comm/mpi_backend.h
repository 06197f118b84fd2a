#pragma once

#include <memory>
#include <vector>

#include "backend.h"
#include "mpi_calls.h"

namespace evalmpi::comm {

// One member per rank of `comm`, which it then owns.
std::unique_ptr<Backend> make_mpi_backend(MPI_Comm comm, size_t bytes_per_call = kBytesPerCall);

// What a group of ranks stands on; MPI_COMM_NULL for a group that does not use MPI.
MPI_Comm mpi_comm_of(Backend& backend);

// Several members on several ranks. rank_of_member: a rank of `comm` for each member; every rank of comm has one or
// more. One thread per rank calls it, and `comm` belongs to the group afterwards. Returns this rank's members, in
// order, each for its own thread.
std::vector<std::unique_ptr<Backend>> make_mixed_backends(MPI_Comm comm, std::vector<int> rank_of_member,
                                                          size_t bytes_per_call = kBytesPerCall);

}  // namespace evalmpi::comm

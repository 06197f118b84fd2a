// MPI's messages. One that fails does nothing at all: its peers never hear of it.

#include <mpi.h>

#include "faults.h"

namespace {

using evalmpi::faults::Kind;
using evalmpi::faults::Message;

template <typename Call>
int strike(const char* name, Call&& call, Message message = Message::kCollective) {
  const Kind kind = evalmpi::faults::count_message(name, message);
  if (kind == Kind::kError) return MPI_ERR_OTHER;
  const int result = call();
  if (kind == Kind::kKillAfter) evalmpi::faults::die();
  return result;
}

}  // namespace

extern "C" {

int MPI_Isend(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request* request) {
  return strike(
      "MPI_Isend", [&] { return PMPI_Isend(data, count, type, to, tag, comm, request); }, Message::kPost);
}

int MPI_Barrier(MPI_Comm comm) {
  return strike("MPI_Barrier", [&] { return PMPI_Barrier(comm); });
}

int MPI_Bcast(void* data, int count, MPI_Datatype type, int root, MPI_Comm comm) {
  return strike("MPI_Bcast", [&] { return PMPI_Bcast(data, count, type, root, comm); });
}

int MPI_Gatherv(const void* from, int count, MPI_Datatype type, void* to, const int* counts, const int* offsets,
                MPI_Datatype to_type, int root, MPI_Comm comm) {
  return strike("MPI_Gatherv",
                [&] { return PMPI_Gatherv(from, count, type, to, counts, offsets, to_type, root, comm); });
}

int MPI_Allgather(const void* from, int count, MPI_Datatype type, void* to, int to_count, MPI_Datatype to_type,
                  MPI_Comm comm) {
  return strike("MPI_Allgather", [&] { return PMPI_Allgather(from, count, type, to, to_count, to_type, comm); });
}

int MPI_Allgatherv(const void* from, int count, MPI_Datatype type, void* to, const int* counts, const int* offsets,
                   MPI_Datatype to_type, MPI_Comm comm) {
  return strike("MPI_Allgatherv",
                [&] { return PMPI_Allgatherv(from, count, type, to, counts, offsets, to_type, comm); });
}

}  // extern "C"

#pragma once

// MPI's C calls with every return value checked, counts of any size, and an owned communicator.

#include <mpi.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/error.h"

namespace evalmpi::comm {

// Bytes that one MPI call carries at most, so that counts and displacements fit an int. Tests use a few bytes.
constexpr size_t kBytesPerCall = size_t{1} << 30;

// Throws Error kUnavailable with MPI's words when `code` is not MPI_SUCCESS.
void check_mpi(int code, const char* call);

// True between MPI_Init and MPI_Finalize.
bool mpi_is_running() noexcept;

// Ends all ranks of the job, or this process where there is no MPI. Any thread.
[[noreturn]] void end_job(ExitCode code) noexcept;

// Owns a communicator, which reports errors instead of ending the job. Not freed while an exception unwinds or
// after MPI's end, so that a failing rank never waits in a destructor.
class MpiGroup {
 public:
  explicit MpiGroup(MPI_Comm comm);
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;
  ~MpiGroup();

  MPI_Comm comm() const { return comm_; }
  int rank() const { return rank_; }
  int size() const { return size_; }

 private:
  MPI_Comm comm_;
  int rank_ = 0, size_ = 1;
};

// Point to point with any number of bytes: the length, then pieces. Several threads may use one communicator with
// different tags.
class PendingSends {
 public:
  PendingSends(MPI_Comm comm, size_t bytes_per_call) : comm_(comm), bytes_per_call_(bytes_per_call) {}
  PendingSends(const PendingSends&) = delete;
  PendingSends& operator=(const PendingSends&) = delete;

  // `bytes` stays where it is until wait().
  void start(std::string_view bytes, int to, int tag);
  void wait();

 private:
  MPI_Comm comm_;
  size_t bytes_per_call_;
  std::deque<std::string> first_pieces_;  // references stay valid while it grows
  std::vector<MPI_Request> requests_;
};

std::string receive_bytes(MPI_Comm comm, int from, int tag, size_t bytes_per_call);

// COLLECTIVE over comm.
MPI_Comm duplicate(MPI_Comm comm);

// Those ranks of parent, in that order; COLLECTIVE over them alone. tag tells concurrent calls apart. No messages of
// that tag may be on their way in parent.
MPI_Comm create_group(MPI_Comm parent, std::span<const int> ranks, int tag);

}  // namespace evalmpi::comm

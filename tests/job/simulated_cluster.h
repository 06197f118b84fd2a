#pragma once

// A whole job under faults in virtual time: the real Coordinator, WorkQueue and WorkerClients, over a VirtualNetwork,
// with replicas, speeds, delays, frozen and dying ranks, stop requests, deadlines and restarts drawn from a seed.

#include <cstdint>
#include <stdexcept>

namespace evalmpi::job {

// A promise that the job broke; says which.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct ClusterHistory {
  uint64_t items = 0;
  uint64_t computed = 0;  // item computations begun, over all attempts
  int attempts = 0;
  int attempts_by_kill = 0;  // that ended by the death of ranks
  uint64_t events = 0;
  double virtual_seconds = 0;
  uint64_t trace = 0;  // a hash of all that happened, in order
};

// Starts the job again until it has ended by itself with every item. Throws Violation when
//   an item is in the result never, twice or with another value; a record is accepted that is not in its log;
//   an item is begun that was handed out before in the attempt, whose receipt was accepted, or whose record was in the
//   logs when the attempt began; an attempt does not end, or not soon after a stop; an attempt that nobody stopped
//   leaves items over; an attempt that ended in peace has records in its logs that were not accepted.
ClusterHistory run_simulated_cluster(uint64_t seed);

}  // namespace evalmpi::job

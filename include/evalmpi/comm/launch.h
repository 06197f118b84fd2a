#pragma once

// Who started this process, known before MPI is touched. All reading of the launcher's environment is here.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace evalmpi::comm {

using Environment = std::map<std::string, std::string>;
Environment process_environment();

enum class Launcher {
  kNone,     // one process by itself, also in the shell of an sbatch or salloc; MPI is never started
  kOpenMpi,  // mpirun
  kPmix,     // srun --mpi=pmix
};

struct Launch {
  Launcher launcher = Launcher::kNone;
  int rank = 0;
  int size = 1;
  int local_rank = 0;             // among the ranks of this host
  std::optional<int> local_size;  // ranks of this host, where the launcher tells

  // What Slurm tells about the job; absent outside of one.
  std::string job_id;
  int restart_count = 0;                        // SLURM_RESTART_COUNT
  std::optional<int64_t> job_end_unix_seconds;  // SLURM_JOB_END_TIME: the limit strikes here
};

// FAILS: kUsage when Slurm started several tasks without PMIx (each would believe to be alone; the message has
// the remedy), or a launcher's variable is not the number it must be.
Launch recognise_launch(const Environment& environment);

// True on the one process that may print before MPI is up: the launcher's rank 0. Never throws, so that main can
// ask it also when recognise_launch failed.
bool speaks_before_init(const Environment& environment) noexcept;

}  // namespace evalmpi::comm

#include "evalmpi/comm/launch.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <limits>
#include <string_view>

#include "evalmpi/base/error.h"

namespace evalmpi::comm {
namespace {

// Slurm numbers the batch script, the interactive shell and the like from here on; the steps of srun lie below.
constexpr int64_t kFirstSpecialStep = 0xfffffff0;

std::string_view text_of(const Environment& environment, const std::string& name) {
  const auto found = environment.find(name);
  return found == environment.end() ? std::string_view() : std::string_view(found->second);
}

std::optional<int64_t> parse(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// The variable as a number, nothing when it is unset or empty.
std::optional<int64_t> number(const Environment& environment, const std::string& name,
                              int64_t last = std::numeric_limits<int>::max()) {
  const std::string_view text = text_of(environment, name);
  if (text.empty()) {
    return std::nullopt;
  }
  const std::optional<int64_t> value = parse(text);
  if (!value || *value < 0 || *value > last) {
    fail(ExitCode::kUsage,
         "the environment variable {}, which the launcher sets, is '{}' and not a number from 0 to {}", name, text,
         last);
  }
  return value;
}

int number_or(const Environment& environment, const std::string& name, int otherwise) {
  return static_cast<int>(number(environment, name).value_or(otherwise));
}

// Tasks of the srun step in which this process runs; 1 in the shell of a batch script or an interactive job, whose
// variables describe the job and not this process.
int64_t tasks_of_step(const Environment& environment) {
  const auto step = number(environment, "SLURM_STEP_ID", std::numeric_limits<uint32_t>::max());
  if (!step || *step >= kFirstSpecialStep) {
    return 1;
  }
  const auto tasks = number(environment, "SLURM_STEP_NUM_TASKS");
  return tasks ? *tasks : number(environment, "SLURM_NTASKS").value_or(1);
}

// The first of these variables that is set.
std::optional<int> first_number(const Environment& environment, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const auto value = number(environment, name)) {
      return static_cast<int>(*value);
    }
  }
  return std::nullopt;
}

// Slurm's tasks of each node, "2(x3),1", at this node's place; nothing where that does not say.
std::optional<int> tasks_of_node(const Environment& environment) {
  int64_t left = number(environment, "SLURM_NODEID").value_or(0);
  std::string_view list = text_of(environment, "SLURM_STEP_TASKS_PER_NODE");
  while (!list.empty()) {
    const size_t comma = list.find(',');
    std::string_view entry = list.substr(0, comma);
    list = comma == std::string_view::npos ? "" : list.substr(comma + 1);
    int64_t nodes = 1;
    if (const size_t times = entry.find("(x"); times != std::string_view::npos && entry.ends_with(')')) {
      nodes = parse(entry.substr(times + 2, entry.size() - times - 3)).value_or(0);
      entry = entry.substr(0, times);
    }
    const auto tasks = parse(entry);
    if (!tasks || *tasks < 1 || *tasks > std::numeric_limits<int>::max() || nodes < 1) {
      return std::nullopt;
    }
    if (left < nodes) {
      return static_cast<int>(*tasks);
    }
    left -= nodes;
  }
  return std::nullopt;
}

void check_rank(const Launch& launch) {
  if (launch.rank >= launch.size) {
    fail(ExitCode::kUsage, "the launcher's variables contradict each other: rank {} of {} ranks", launch.rank,
         launch.size);
  }
}

// A local rank at or above the number of ranks of its host would make no sense; then nobody trusts the number.
void drop_wrong_local_size(Launch& launch) {
  if (launch.local_size && *launch.local_size <= launch.local_rank) {
    launch.local_size.reset();
  }
}

}  // namespace

Environment process_environment() {
  Environment environment;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view line = *entry;
    const size_t equals = line.find('=');
    if (equals != std::string_view::npos) {
      environment.emplace(line.substr(0, equals), line.substr(equals + 1));
    }
  }
  return environment;
}

Launch recognise_launch(const Environment& environment) {
  Launch launch;
  launch.job_id = text_of(environment, "SLURM_JOB_ID");
  launch.restart_count = number_or(environment, "SLURM_RESTART_COUNT", 0);
  launch.job_end_unix_seconds = number(environment, "SLURM_JOB_END_TIME", std::numeric_limits<int64_t>::max());
  if (launch.job_end_unix_seconds == 0) {  // a job without a limit
    launch.job_end_unix_seconds.reset();
  }

  // mpirun first: inside a batch script Slurm's variables describe the script, and mpirun sets PMIX_RANK as well.
  if (const auto size = number(environment, "OMPI_COMM_WORLD_SIZE")) {
    launch.launcher = Launcher::kOpenMpi;
    launch.size = static_cast<int>(*size);
    launch.rank = number_or(environment, "OMPI_COMM_WORLD_RANK", 0);
    launch.local_rank = number_or(environment, "OMPI_COMM_WORLD_LOCAL_RANK", 0);
    launch.local_size = first_number(environment, {"OMPI_COMM_WORLD_LOCAL_SIZE"});
    check_rank(launch);
    drop_wrong_local_size(launch);
    return launch;
  }
  if (const auto rank = number(environment, "PMIX_RANK")) {
    launch.launcher = Launcher::kPmix;
    launch.rank = static_cast<int>(*rank);
    launch.size = static_cast<int>(std::max(tasks_of_step(environment), *rank + 1));
    // Beside Slurm's the names of PALS, Flux, and of Hydra and its relatives.
    launch.local_rank = first_number(environment, {"SLURM_LOCALID", "PALS_LOCAL_RANKID", "FLUX_TASK_LOCAL_ID",
                                                   "MPI_LOCALRANKID", "PMI_LOCAL_RANK"})
                            .value_or(0);
    launch.local_size = tasks_of_node(environment);
    if (!launch.local_size) {
      launch.local_size = first_number(environment, {"PALS_LOCAL_SIZE", "MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"});
    }
    drop_wrong_local_size(launch);
    return launch;
  }
  if (const int64_t tasks = tasks_of_step(environment); tasks > 1) {
    fail(ExitCode::kUsage,
         "Slurm started {} tasks, but without PMIx, so each of them would run the whole job alone; start them with: "
         "srun --mpi=pmix ...",
         tasks);
  }
  return launch;
}

bool speaks_before_init(const Environment& environment) noexcept {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK"}) {
    if (const std::string_view rank = text_of(environment, name); !rank.empty()) {
      return rank == "0";
    }
  }
  const auto step = parse(text_of(environment, "SLURM_STEP_ID"));
  const std::string_view task = text_of(environment, "SLURM_PROCID");
  return !step || *step >= kFirstSpecialStep || task.empty() || task == "0";
}

}  // namespace evalmpi::comm

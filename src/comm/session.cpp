#include "evalmpi/comm/session.h"

#include <cstdlib>
#include <map>
#include <optional>
#include <utility>

#include "evalmpi/base/log.h"
#include "evalmpi/device/cpu.h"
#include "mpi_backend.h"
#include "mpi_message_port.h"

namespace evalmpi::comm {

struct Session::State {
  Launch launch;
  bool has_mpi = false;
  std::optional<Communicator> world;
  std::optional<MessagePort> port;
  std::string host_name = device::host_name();
  int host_index = 0, host_count = 1;
  int local_rank = 0, local_size = 1;
};

namespace {

constexpr std::chrono::seconds kLastMail{2};

// Waiting ranks give their core away: lanes and service threads outnumber the cores, and without this a rank that
// shares its core waits a hundred times longer. The user's own setting stays.
void start_mpi(const Launch& launch) {
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_MULTIPLE) {
    fail(ExitCode::kUnavailable,
         "this MPI library serves one thread only (level {} instead of MPI_THREAD_MULTIPLE); build it with thread "
         "support",
         provided);
  }
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  int size = 0;
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  if (size < launch.size) {
    fail(ExitCode::kUnavailable,
         "the launcher started {} ranks, but MPI sees {}: launcher and MPI library do not belong together; use the "
         "mpirun of the library that evalmpi was built with, or an srun --mpi=pmix that it knows",
         launch.size, size);
  }
}

// Who is where.
template <typename State>
void find_hosts(State& state) {
  MPI_Comm local = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, state.world->rank(), MPI_INFO_NULL, &local),
            "MPI_Comm_split_type");
  Communicator host(std::make_unique<MpiBackend>(local));
  state.local_rank = host.rank();
  state.local_size = host.size();
  // A host is known by its lowest rank.
  const int64_t first = host.all_reduce(int64_t{state.world->rank()}, Reduce::kMin);
  std::map<std::string, int> index_of_host;
  const std::vector<std::string> firsts = state.world->all_gather(std::to_string(first));
  for (const std::string& name : firsts) {
    index_of_host.emplace(name, static_cast<int>(index_of_host.size()));
  }
  state.host_index = index_of_host.at(std::to_string(first));
  state.host_count = static_cast<int>(index_of_host.size());
}

}  // namespace

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session::~Session() = default;

Session Session::start(const Launch& launch) {
  static bool has_started = false;
  EVALMPI_CHECK(!has_started);
  has_started = true;
  auto state = std::make_unique<State>();
  state->launch = launch;
  if (launch.launcher == Launcher::kNone) {
    state->world = Communicator::self();
    state->port = std::move(MessagePort::connected(1).front());
    return Session(std::move(state));
  }
  start_mpi(launch);
  state->has_mpi = true;
  state->world.emplace(std::make_unique<MpiBackend>(duplicate(MPI_COMM_WORLD)));
  state->port.emplace(make_mpi_port(duplicate(MPI_COMM_WORLD)));
  if (state->world->size() > 1) {
    log::set_rank(state->world->rank());
  }

  try {
    find_hosts(*state);
  } catch (const Error& error) {
    // The others wait for this rank and cannot know.
    log::error("{}", error.what());
    MPI_Abort(MPI_COMM_WORLD, static_cast<int>(error.code()));
  }
  return Session(std::move(state));
}

const Launch& Session::launch() const { return state_->launch; }
int Session::rank() const { return state_->world->rank(); }
int Session::size() const { return state_->world->size(); }
const std::string& Session::host_name() const { return state_->host_name; }
int Session::host_index() const { return state_->host_index; }
int Session::host_count() const { return state_->host_count; }
int Session::local_rank() const { return state_->local_rank; }
int Session::local_size() const { return state_->local_size; }
Communicator& Session::world() { return *state_->world; }
MessagePort& Session::port() { return *state_->port; }

void Session::finish() {
  if (!state_->has_mpi || !mpi_is_running()) {
    return;
  }
  if (!state_->port->flush(kLastMail)) {
    log::warning("some messages of this rank were never received");
  }
  check_mpi(MPI_Finalize(), "MPI_Finalize");
}

void Session::abort(ExitCode code) noexcept { end_job(code); }

}  // namespace evalmpi::comm

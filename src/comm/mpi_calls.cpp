#include "mpi_calls.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "evalmpi/base/error.h"

namespace evalmpi::comm {

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) {
    return;
  }
  std::array<char, MPI_MAX_ERROR_STRING> words{};
  int length = 0;
  if (MPI_Error_string(code, words.data(), &length) != MPI_SUCCESS) {
    length = 0;
  }
  fail(ExitCode::kUnavailable, "{} failed: {}; another rank or the network is gone, start the job again", call,
       length > 0 ? std::string(words.data(), length) : "MPI error " + std::to_string(code));
}

bool mpi_is_running() noexcept {
  int started = 0, ended = 0;
  return MPI_Initialized(&started) == MPI_SUCCESS && MPI_Finalized(&ended) == MPI_SUCCESS && started && !ended;
}

void end_job(ExitCode code) noexcept {
  if (mpi_is_running()) {
    MPI_Abort(MPI_COMM_WORLD, static_cast<int>(code));
  }
  std::_Exit(static_cast<int>(code));
}

MpiGroup::MpiGroup(MPI_Comm comm) : comm_(comm) {
  check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
}

MpiGroup::~MpiGroup() {
  if (std::uncaught_exceptions() == 0 && mpi_is_running()) {
    MPI_Comm_free(&comm_);
  }
}

void PendingSends::start(std::string_view bytes, int to, int tag) {
  const auto send = [&](const void* data, size_t length) {
    requests_.emplace_back();
    check_mpi(MPI_Isend(data, static_cast<int>(length), MPI_BYTE, to, tag, comm_, &requests_.back()), "MPI_Isend");
  };
  const uint64_t length = bytes.size();
  std::string first(sizeof length, '\0');
  std::memcpy(first.data(), &length, sizeof length);
  first += bytes.substr(0, bytes_per_call_);
  first_pieces_.push_back(std::move(first));
  send(first_pieces_.back().data(), first_pieces_.back().size());
  for (size_t begin = bytes_per_call_; begin < bytes.size(); begin += bytes_per_call_) {
    const std::string_view piece = bytes.substr(begin, bytes_per_call_);
    send(piece.data(), piece.size());
  }
}

void PendingSends::wait() {
  check_mpi(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
  requests_.clear();
  first_pieces_.clear();
}

std::string receive_bytes(MPI_Comm comm, int from, int tag, size_t bytes_per_call) {
  MPI_Message message;
  MPI_Status status;
  int count = 0;
  check_mpi(MPI_Mprobe(from, tag, comm, &message, &status), "MPI_Mprobe");
  check_mpi(MPI_Get_count(&status, MPI_BYTE, &count), "MPI_Get_count");
  std::string bytes(count, '\0');
  check_mpi(MPI_Mrecv(bytes.data(), count, MPI_BYTE, &message, &status), "MPI_Mrecv");
  uint64_t length = 0;
  EVALMPI_CHECK(bytes.size() >= sizeof length);
  std::memcpy(&length, bytes.data(), sizeof length);
  bytes.erase(0, sizeof length);
  size_t filled = bytes.size();
  bytes.resize(length);
  while (filled < length) {
    const int piece = static_cast<int>(std::min<size_t>(bytes_per_call, length - filled));
    check_mpi(MPI_Recv(bytes.data() + filled, piece, MPI_BYTE, from, tag, comm, &status), "MPI_Recv");
    filled += piece;
  }
  return bytes;
}

MPI_Comm duplicate(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(comm, &copy), "MPI_Comm_dup");
  return copy;
}

MPI_Comm create_group(MPI_Comm parent, std::span<const int> ranks, int tag) {
  MPI_Group all = MPI_GROUP_NULL, chosen = MPI_GROUP_NULL;
  check_mpi(MPI_Comm_group(parent, &all), "MPI_Comm_group");
  check_mpi(MPI_Group_incl(all, static_cast<int>(ranks.size()), ranks.data(), &chosen), "MPI_Group_incl");
  MPI_Comm made = MPI_COMM_NULL;
  check_mpi(MPI_Comm_create_group(parent, chosen, tag, &made), "MPI_Comm_create_group");
  MPI_Group_free(&chosen);
  MPI_Group_free(&all);
  return made;
}

}  // namespace evalmpi::comm

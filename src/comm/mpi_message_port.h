#pragma once

#include "message_port_impl.h"
#include "mpi_calls.h"

namespace evalmpi::comm {

// Over a communicator that nobody else uses, which the port then owns. MPI_THREAD_MULTIPLE.
std::unique_ptr<MessagePort::Impl> make_mpi_port(MPI_Comm comm);

}  // namespace evalmpi::comm

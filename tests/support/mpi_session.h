#pragma once

#include "evalmpi/comm/session.h"

namespace evalmpi::comm {

// The session that tests/support/mpi_main.cpp has started.
Session& test_session();

}  // namespace evalmpi::comm

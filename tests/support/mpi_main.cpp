// main of the MPI tests: every rank runs every test. Rank 0 prints as usual, the others print their failures only, and
// the program fails when a test fails on any rank.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "mpi_session.h"

namespace {

std::unique_ptr<evalmpi::comm::Session> session;

// A rank that leaves a test early lets the others wait: then the alarm's signal ends the job.
constexpr unsigned kLongestRunSeconds = 90;

class FailuresOnly : public ::testing::EmptyTestEventListener {
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (result.failed()) {
      std::fprintf(stderr, "[rank %d] %s:%d: %s\n", session->rank(), result.file_name() ? result.file_name() : "?",
                   result.line_number(), result.message());
    }
  }
};

}  // namespace

evalmpi::comm::Session& evalmpi::comm::test_session() { return *session; }

int main(int argc, char** argv) {
  using namespace evalmpi;
  ::testing::InitGoogleTest(&argc, argv);
  alarm(kLongestRunSeconds);
  session = std::make_unique<comm::Session>(comm::Session::start(comm::recognise_launch(comm::process_environment())));
  if (session->rank() != 0) {
    ::testing::TestEventListeners& listeners = ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly);
  }
  const int64_t failed = session->world().all_reduce(int64_t{RUN_ALL_TESTS()}, comm::Reduce::kMax);
  session->finish();
  return failed == 0 ? 0 : 1;
}

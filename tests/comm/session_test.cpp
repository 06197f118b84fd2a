// One process without a launcher: no MPI, whatever the layout.

#include "evalmpi/comm/session.h"

#include <gtest/gtest.h>

#include <thread>

#include "evalmpi/comm/mesh.h"
#include "evalmpi/comm/together.h"
#include "group_checks.h"

namespace evalmpi::comm {
namespace {

Session& session() {
  static Session instance = Session::start(Launch{});
  return instance;
}

TEST(Session, IsOneRank) {
  EXPECT_EQ(session().rank(), 0);
  EXPECT_EQ(session().size(), 1);
  EXPECT_EQ(session().host_count(), 1);
  EXPECT_FALSE(session().host_name().empty());
  check_group(session().world());
}

TEST(Session, StartsOncePerProcess) {
  session();
  EXPECT_THROW(Session::start(Launch{}), Error);
}

TEST(Session, HasMailForItself) {
  session().port().post(0, 4, "note");
  EXPECT_EQ(session().port().receive(4, std::chrono::milliseconds(0))->bytes, "note");
}

TEST(Session, HostsPlacesAsThreads) {
  LayoutRequest request{.tp = 3};
  request.cores_per_rank = 6;
  Mesh mesh = make_mesh(session(), request);
  ASSERT_EQ(mesh.places.size(), 3U);
  EXPECT_EQ(mesh.lanes_of_replica, std::vector<int>{2});
  std::vector<std::thread> threads;
  for (LocalPlace& place : mesh.places) {
    for (Communicator& lane : place.lanes) {
      threads.emplace_back([&lane] { EXPECT_EQ(wrong_sums(lane, 1001), 0); });
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST(Session, RefusesALayoutWithItsExitCode) {
  try {
    make_mesh(session(), {.pp = 2});
    ADD_FAILURE();
  } catch (const SharedError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_TRUE(error.is_reporter());
  }
}

TEST(SessionDeathTest, AbortEndsTheProcessWithItsCode) {
  EXPECT_EXIT(session().abort(ExitCode::kIo), ::testing::ExitedWithCode(74), "");
}

TEST(Session, FinishesWithoutMpi) {
  session().finish();
  session().finish();
}

}  // namespace
}  // namespace evalmpi::comm

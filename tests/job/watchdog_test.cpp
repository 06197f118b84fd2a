#include "evalmpi/job/watchdog.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace evalmpi::job {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Watchdog::Options options() {
  Watchdog::Options options;
  options.rank = 3;
  options.host = "node7";
  return options;
}

TEST(Watchdog, silence_beyond_the_phase_limit_is_named) {
  Watchdog watchdog(options());
  const auto heartbeat = watchdog.watch("lane 1");
  const Watchdog::Clock::time_point start{};
  heartbeat->enter("score", seconds(60));
  heartbeat->set_chunk(42);
  EXPECT_EQ(watchdog.check(start), std::nullopt);
  EXPECT_EQ(watchdog.check(start + seconds(60)), std::nullopt);
  EXPECT_EQ(watchdog.check(start + seconds(61)),
            "rank 3 on node7: no progress for 61.0 s in phase \"score\", thread lane 1, chunk 42 (limit 60.0 s)");
}

TEST(Watchdog, beats_and_new_phases_are_progress) {
  Watchdog watchdog(options());
  const auto heartbeat = watchdog.watch("lane 0");
  Watchdog::Clock::time_point now{};
  heartbeat->enter("load", seconds(600));
  EXPECT_EQ(watchdog.check(now), std::nullopt);
  heartbeat->enter("score", seconds(10));
  for (int i = 0; i < 5; ++i) {
    now += seconds(9);
    heartbeat->beat();
    EXPECT_EQ(watchdog.check(now), std::nullopt);
  }
  EXPECT_NE(watchdog.check(now + seconds(11)), std::nullopt);
}

TEST(Watchdog, waiting_for_work_is_no_hang) {
  Watchdog watchdog(options());
  const auto heartbeat = watchdog.watch("lane 0");
  heartbeat->enter("wait for a chunk", milliseconds(0));
  EXPECT_EQ(watchdog.check(Watchdog::Clock::time_point{}), std::nullopt);
  EXPECT_EQ(watchdog.check(Watchdog::Clock::time_point{} + std::chrono::hours(9)), std::nullopt);
}

TEST(Watchdog, each_thread_is_watched) {
  Watchdog watchdog(options());
  const auto first = watchdog.watch("lane 0");
  const auto second = watchdog.watch("lane 1");
  for (const auto& heartbeat : {first, second}) heartbeat->enter("score", seconds(10));
  const Watchdog::Clock::time_point start{};
  EXPECT_EQ(watchdog.check(start), std::nullopt);
  first->beat();
  const std::optional<std::string> line = watchdog.check(start + seconds(11));
  ASSERT_TRUE(line);
  EXPECT_NE(line->find("lane 1"), std::string::npos);
}

void hang_under(Watchdog::Options with) {
  with.period = milliseconds(1);
  Watchdog watchdog(std::move(with));
  const auto heartbeat = watchdog.watch("lane 0");
  heartbeat->enter("gather", milliseconds(1));
  watchdog.start();
  while (true) ::pause();
}

TEST(WatchdogDeathTest, aborts_with_the_line) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  Watchdog::Options with = options();
  with.abort = [](const std::string&) { ::_exit(5); };
  EXPECT_EXIT(hang_under(with), testing::ExitedWithCode(5), "rank 3 on node7: no progress .* \"gather\"");
}

TEST(WatchdogDeathTest, ends_the_process_when_the_abort_hangs_too) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  Watchdog::Options with = options();
  with.grace = milliseconds(10);
  with.abort = [](const std::string&) {
    while (true) ::pause();
  };
  EXPECT_EXIT(hang_under(with), testing::ExitedWithCode(70), "gather");
}

}  // namespace
}  // namespace evalmpi::job

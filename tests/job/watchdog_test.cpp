#include "evalmpi/job/watchdog.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace evalmpi::job {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Time = Watchdog::Clock::time_point;

// In these tests 10 s pass from one look to the next, unless they say otherwise.
// The line that comes of looking every 10 s for `time`, if one comes.
std::optional<std::string> look_for(Watchdog& watchdog, Time& now, seconds time) {
  for (const Time end = now + time; now < end;) {
    now += seconds(10);
    if (std::optional<std::string> line = watchdog.check(now)) return line;
  }
  return std::nullopt;
}

class Watched : public testing::Test {
 protected:
  void SetUp() override {
    watchdog.set_name("rank 3 on node7 (process 812)");
    watchdog.check(now);
  }
  std::optional<std::string> look_for(seconds time) { return job::look_for(watchdog, now, time); }

  double thread_seconds = 0, process_seconds = 0;  // used
  Watchdog watchdog{{.hang_timeout = seconds(60),
                     .period = seconds(10),
                     .seconds_of_thread = [this](int) { return thread_seconds; },
                     .seconds_of_process = [this] { return process_seconds; }}};
  std::shared_ptr<Heartbeat> heartbeat = watchdog.watch("lane 1");
  Time now{};
};

TEST_F(Watched, a_thread_that_neither_beats_nor_computes_is_named) {
  heartbeat->enter("score", Judged::kAlone);
  heartbeat->set_chunk(42);
  ASSERT_EQ(look_for(seconds(10)), std::nullopt);
  EXPECT_EQ(look_for(seconds(60)), std::nullopt);
  EXPECT_EQ(
      look_for(seconds(10)),
      "rank 3 on node7 (process 812): in phase \"score\", lane 1, chunk 42, without progress for 70.0 s: it hangs "
      "(--hang-timeout 60)");
}

TEST_F(Watched, beats_and_new_phases_are_progress) {
  heartbeat->enter("load", Judged::kStrict);
  EXPECT_EQ(look_for(seconds(50)), std::nullopt);
  heartbeat->enter("score", Judged::kAlone);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(look_for(seconds(50)), std::nullopt);
    heartbeat->beat();
  }
  count_step();  // by whatever this thread calls
  EXPECT_EQ(look_for(seconds(50)), std::nullopt);
  EXPECT_NE(look_for(seconds(30)), std::nullopt);
}

TEST_F(Watched, waiting_for_work_is_no_hang) {
  heartbeat->enter("wait for a chunk", Judged::kNever);
  EXPECT_EQ(look_for(std::chrono::hours(9)), std::nullopt);
}

TEST_F(Watched, a_slow_thread_that_computes_is_none_but_one_in_circles_is) {
  heartbeat->enter("score", Judged::kAlone);
  for (int i = 0; i < 4; ++i) {
    thread_seconds += 1.0;  // of 60 s
    EXPECT_EQ(look_for(seconds(60)), std::nullopt) << i;
  }
  thread_seconds += 1.0;
  const std::optional<std::string> line = look_for(seconds(60));
  ASSERT_TRUE(line);
  EXPECT_NE(line->find("without progress for 250.0 s"), std::string::npos) << *line;
}

TEST_F(Watched, limits_grow_with_the_pauses_that_were_seen) {
  heartbeat->enter("score", Judged::kAlone);
  for (int i = 0; i < 3; ++i) {
    thread_seconds += 0.7;
    EXPECT_EQ(look_for(seconds(50)), std::nullopt);
    heartbeat->beat();
  }
  for (int i = 0; i < 8; ++i) {
    thread_seconds += 0.7;
    EXPECT_EQ(look_for(seconds(60)), std::nullopt) << "480 s are less than ten times 50 s";
  }
  thread_seconds += 0.7;
  EXPECT_NE(look_for(seconds(60)), std::nullopt);
}

TEST_F(Watched, work_of_other_threads_counts_where_they_help) {
  heartbeat->enter("read", Judged::kHelped);
  for (int i = 0; i < 4; ++i) {
    process_seconds += 3.5;  // 5 % of 70 s
    EXPECT_EQ(look_for(seconds(60)), std::nullopt) << i;
  }
  EXPECT_NE(look_for(seconds(80)), std::nullopt);
}

TEST_F(Watched, waiting_for_other_ranks_is_no_hang_where_they_are_slow) {
  heartbeat->enter("publish", Judged::kHelped);
  {
    const WaitForOthers waiting;  // as comm's verbs say
    EXPECT_EQ(look_for(std::chrono::hours(9)), std::nullopt);
  }
  EXPECT_EQ(look_for(seconds(60)), std::nullopt) << "from here on it counts";
  EXPECT_NE(look_for(seconds(20)), std::nullopt);
  heartbeat->enter("score", Judged::kAlone);
  const WaitForOthers waiting;
  EXPECT_EQ(look_for(seconds(60)), std::nullopt);
  EXPECT_NE(look_for(seconds(20)), std::nullopt) << "a group that computes is quick";
}

TEST_F(Watched, strict_phases_end_in_time_whatever_they_use) {
  heartbeat->enter("start MPI", Judged::kStrict);
  thread_seconds += 1.0;
  EXPECT_EQ(look_for(seconds(60)), std::nullopt);
  EXPECT_NE(look_for(seconds(20)), std::nullopt);
}

TEST_F(Watched, time_that_nobody_saw_passing_does_not_count) {
  heartbeat->enter("score", Judged::kAlone);
  EXPECT_EQ(look_for(seconds(10)), std::nullopt);
  now += std::chrono::hours(24);  // the machine slept
  EXPECT_EQ(watchdog.check(now), std::nullopt);
  EXPECT_EQ(look_for(seconds(20)), std::nullopt);
  EXPECT_NE(look_for(seconds(10)), std::nullopt) << "40 s of the day count";
}

TEST_F(Watched, each_thread_is_watched_while_its_heartbeat_lives) {
  auto second = watchdog.watch("lane 2");
  heartbeat->enter("score", Judged::kNever);
  second->enter("score", Judged::kStrict);
  EXPECT_EQ(look_for(seconds(70)), std::nullopt);
  const std::optional<std::string> line = look_for(seconds(10));
  ASSERT_TRUE(line);
  EXPECT_NE(line->find("lane 2"), std::string::npos);
  second.reset();
  EXPECT_EQ(look_for(seconds(100)), std::nullopt);
}

TEST_F(Watched, the_sign_is_of_the_thread_that_works) {
  EXPECT_EQ(watchdog.sign().phase, "start");
  const auto second = watchdog.watch("lane 2");
  heartbeat->enter("wait", Judged::kNever);
  second->enter("score", Judged::kAlone);
  second->set_chunk(7);
  EXPECT_EQ(look_for(seconds(20)), std::nullopt);
  const ThreadSign sign = watchdog.sign();
  EXPECT_EQ(sign.thread, "lane 2");
  EXPECT_EQ(sign.chunk, 7u);
  EXPECT_EQ(sign.still_seconds, 10);
  EXPECT_EQ(describe(sign), "in phase \"score\", lane 2, chunk 7, without progress for 10.0 s");
  second->enter("wait for a chunk", Judged::kNever);
  const auto roll_call = watchdog.watch("roll call");
  roll_call->enter("exchange signs", Judged::kStrict);
  EXPECT_EQ(look_for(seconds(10)), std::nullopt);
  EXPECT_EQ(watchdog.sign().phase, "wait for a chunk") << "nobody works; this one did a moment ago";
}

void hang_under(Watchdog::Abort abort, Watchdog::Ending ending) {
  Watchdog watchdog({.hang_timeout = milliseconds(20), .period = milliseconds(5), .grace = milliseconds(200)});
  const auto heartbeat = watchdog.watch("lane 0");
  watchdog.set_abort(std::move(abort));
  watchdog.set_ending(std::move(ending));
  heartbeat->enter("gather", Judged::kStrict);
  watchdog.start();
  while (true) ::pause();
}

void hang() {
  while (true) ::pause();
}

TEST(WatchdogDeathTest, notes_the_line_then_aborts) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto note = [](ExitCode, const std::string& line) {
    (void)!::write(STDERR_FILENO, ("noted: " + line).c_str(), 7 + line.size());
  };
  EXPECT_EXIT(hang_under([](ExitCode) { ::_exit(5); }, note), testing::ExitedWithCode(5), "noted: .*\"gather\"");
}

TEST(WatchdogDeathTest, ends_the_process_when_note_and_abort_hang_too) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(hang_under([](ExitCode) { hang(); }, [](ExitCode, const std::string&) { hang(); }),
              testing::ExitedWithCode(75), "gather");
}

}  // namespace
}  // namespace evalmpi::job

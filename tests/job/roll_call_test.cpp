#include "evalmpi/job/roll_call.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>

#include "evalmpi/comm/message_port.h"
#include "wire.h"

namespace evalmpi::job {
namespace {

using std::chrono::seconds;
using Time = RollCall::Clock::time_point;

// Ranks of one process in virtual time, of which any may be stopped. The timeout is 10 s.
class Ranks : public testing::Test {
 protected:
  static constexpr int kRanks = 3;

  Ranks() {
    // No thread of their own: tests step.
    for (int rank = 0; rank < kRanks; ++rank) {
      watchdogs_.emplace_back(Watchdog::Options{.hang_timeout = seconds(10), .period = seconds(1)});
      heartbeats_.push_back(watchdogs_.back().watch("main"));
      calls_.emplace_back(ports_[rank], watchdogs_.back(), homes_, RollCall::Stepped{});
    }
  }

  // Lets a second pass `count` times; the first line that a rank comes to.
  std::optional<std::string> pass(int count) {
    for (int i = 0; i < count; ++i) {
      now_ += seconds(1);
      for (int rank = 0; rank < kRanks; ++rank) {
        if (stopped_[rank]) continue;
        watchdogs_[rank].check(now_);
        if (std::optional<std::string> line = calls_[rank].step(now_)) {
          speaker_ = rank;
          return line;
        }
      }
    }
    return std::nullopt;
  }

  std::vector<comm::MessagePort> ports_ = comm::MessagePort::connected(kRanks);
  std::vector<RankHome> homes_{{"node0", 100}, {"node1", 101}, {"node2", 102}};
  std::deque<Watchdog> watchdogs_;
  std::vector<std::shared_ptr<Heartbeat>> heartbeats_;
  std::deque<RollCall> calls_;
  bool stopped_[kRanks] = {};
  int speaker_ = -1;
  Time now_{};
};

TEST_F(Ranks, nobody_is_missed_while_all_live) {
  EXPECT_EQ(pass(1000), std::nullopt);
  for (const RankSign& rank : calls_[0].ranks()) EXPECT_LE(rank.silent_seconds, 2);
}

TEST_F(Ranks, rank_0_names_a_silent_rank_and_what_it_did) {
  heartbeats_[2]->enter("score", Judged::kAlone);
  heartbeats_[2]->set_chunk(42);
  EXPECT_EQ(pass(20), std::nullopt);
  stopped_[2] = true;
  EXPECT_EQ(pass(9), std::nullopt);
  const std::optional<std::string> line = pass(3);
  ASSERT_TRUE(line) << "within the timeout and two seconds";
  EXPECT_EQ(speaker_, 0);
  EXPECT_TRUE(line->starts_with("rank 2 on node2 (process 102): no sign of life for ")) << *line;
  EXPECT_NE(line->find("in phase \"score\", main, chunk 42"), std::string::npos) << *line;
}

TEST_F(Ranks, rank_1_speaks_of_a_silent_rank_0) {
  EXPECT_EQ(pass(20), std::nullopt);
  stopped_[0] = true;
  EXPECT_EQ(pass(9), std::nullopt);
  const std::optional<std::string> line = pass(4);
  ASSERT_TRUE(line);
  EXPECT_EQ(speaker_, 1);
  EXPECT_TRUE(line->starts_with("rank 0 on node0 (process 100): no sign of life for ")) << *line;
}

TEST_F(Ranks, rank_2_speaks_of_a_silent_rank_0_if_rank_1_does_not) {
  EXPECT_EQ(pass(20), std::nullopt);
  stopped_[0] = stopped_[1] = true;
  ASSERT_TRUE(pass(15));
  EXPECT_EQ(speaker_, 2);
}

TEST_F(Ranks, a_short_stop_is_survived) {
  for (int rank = 0; rank < kRanks; ++rank) {
    for (int i = 0; i < 5; ++i) {
      stopped_[rank] = true;
      EXPECT_EQ(pass(8), std::nullopt) << rank;
      stopped_[rank] = false;
      EXPECT_EQ(pass(3), std::nullopt) << rank;
    }
  }
}

TEST_F(Ranks, a_suspended_job_goes_on) {
  EXPECT_EQ(pass(20), std::nullopt);
  now_ += std::chrono::hours(48);
  EXPECT_EQ(pass(100), std::nullopt);
}

TEST_F(Ranks, at_most_one_message_waits_for_a_stopped_rank) {
  EXPECT_EQ(pass(20), std::nullopt);
  stopped_[0] = true;
  EXPECT_EQ(pass(8), std::nullopt);
  int waiting = 0;
  while (ports_[0].receive(2, std::chrono::milliseconds(0))) ++waiting;
  EXPECT_EQ(waiting, kRanks - 1);
}

TEST_F(Ranks, all_leave_in_any_order) {
  EXPECT_EQ(pass(5), std::nullopt);
  calls_[2].leave();
  EXPECT_EQ(pass(20), std::nullopt);
  EXPECT_TRUE(calls_[2].is_over());
  stopped_[2] = true;  // its process has ended
  EXPECT_EQ(pass(50), std::nullopt);
  calls_[0].leave();
  EXPECT_EQ(pass(20), std::nullopt);
  EXPECT_FALSE(calls_[0].is_over()) << "rank 1 is there";
  calls_[1].leave();
  EXPECT_EQ(pass(3), std::nullopt);
  EXPECT_TRUE(calls_[0].is_over());
  EXPECT_TRUE(calls_[1].is_over());
}

TEST(RollCallThreads, finish_waits_for_all) {
  std::vector<comm::MessagePort> ports = comm::MessagePort::connected(4);
  const std::vector<RankHome> homes(4, {"node", 1});
  std::vector<std::thread> ranks;
  for (comm::MessagePort& port : ports) {
    ranks.emplace_back([&port, &homes] {
      Watchdog watchdog({.hang_timeout = seconds(100), .period = std::chrono::milliseconds(10)});
      RollCall call(port, watchdog, homes);
      call.finish();
    });
  }
  for (std::thread& rank : ranks) rank.join();
}

void hear_another_build() {
  std::vector<comm::MessagePort> ports = comm::MessagePort::connected(2);
  Watchdog watchdog({.period = std::chrono::milliseconds(10), .grace = std::chrono::milliseconds(200)});
  const RollCall call(ports[0], watchdog, {{"node0", 100}, {"node1", 101}});
  ports[1].post(0, wire::kToRollCall, std::string(1, static_cast<char>(wire::kVersion + 1)));
  while (true) ::pause();
}

TEST(RollCallDeathTest, what_fails_in_its_thread_ends_the_job_with_its_code) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(hear_another_build(), testing::ExitedWithCode(static_cast<int>(ExitCode::kBadInput)),
              "error: rank 0 on node0 \\(process 100\\): a rank runs another build.*is saved\n");
}

}  // namespace
}  // namespace evalmpi::job

#include "evalmpi/job/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "evalmpi/base/error.h"

namespace evalmpi::job {
namespace {

TEST(StopFlag, is_never_weakened_and_remembers_the_first_signal) {
  StopFlag flag;
  EXPECT_FALSE(flag);
  flag.request(Stop::kAfterChunk, SIGUSR1);
  EXPECT_TRUE(flag);
  EXPECT_FALSE(flag.now());
  flag.request(Stop::kNow, SIGTERM);
  flag.request(Stop::kAfterChunk);
  EXPECT_TRUE(flag.now());
  EXPECT_EQ(flag.signal(), SIGUSR1);
}

TEST(SignalHandlers, usr1_asks_to_finish_and_term_to_stop_now) {
  StopFlag flag;
  const SignalHandlers handlers(flag);
  ::raise(SIGUSR1);
  EXPECT_EQ(flag.requested(), Stop::kAfterChunk);
  EXPECT_EQ(flag.signal(), SIGUSR1);
  ::raise(SIGTERM);
  EXPECT_EQ(flag.requested(), Stop::kNow);
}

TEST(SignalHandlers, a_closed_pipe_is_an_error_of_write) {
  StopFlag flag;
  const SignalHandlers handlers(flag);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  EXPECT_EQ(::write(ends[1], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  ::close(ends[1]);
  EXPECT_FALSE(flag);
}

TEST(SignalHandlers, former_handlers_return) {
  struct sigaction before {};
  ::sigaction(SIGTERM, nullptr, &before);
  {
    StopFlag flag;
    const SignalHandlers handlers(flag);
    EXPECT_THROW(SignalHandlers second(flag), Error);
  }
  struct sigaction after {};
  ::sigaction(SIGTERM, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

TEST(SignalHandlersDeathTest, the_second_int_ends_the_process) {
  EXPECT_EXIT(
      {
        StopFlag flag;
        const SignalHandlers handlers(flag);
        ::raise(SIGINT);
        if (!flag.now()) ::_exit(1);
        ::raise(SIGINT);
        ::_exit(2);
      },
      testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace evalmpi::job

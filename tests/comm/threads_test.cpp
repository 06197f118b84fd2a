#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>

#include "evalmpi/comm/together.h"
#include "group_checks.h"

namespace evalmpi::comm {
namespace {

// f(member) on one thread per member.
void on_threads(std::vector<Communicator> members, const std::function<void(Communicator&)>& f) {
  std::vector<std::thread> threads;
  for (Communicator& member : members) {
    threads.emplace_back([&f, &member] { f(member); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

std::string failure_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Self, IsTheOrdinaryCase) {
  Communicator self = Communicator::self();
  EXPECT_EQ(self.rank(), 0);
  EXPECT_EQ(self.size(), 1);
  check_group(self);
  const at::Tensor x = addends(0, 10);
  EXPECT_TRUE(self.all_reduce_sum(x).is_same(x));
}

class Threads : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Sizes, Threads, ::testing::Values(2, 3, 4, 7));

TEST_P(Threads, EveryVerb) { on_threads(Communicator::threads(GetParam()), check_group); }

TEST_P(Threads, ManySumsInARow) {
  on_threads(Communicator::threads(GetParam()), [](Communicator& group) {
    for (int64_t n = 0; n < 400; ++n) {
      ASSERT_EQ(wrong_sums(group, n % 29), 0);
    }
  });
}

TEST(OrderOfAddition, ChangesTheBits) {  // or the tests of the order would prove nothing
  int64_t different = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    different += (addend(0, i) + addend(1, i)) + addend(2, i) != (addend(2, i) + addend(1, i)) + addend(0, i);
  }
  EXPECT_GT(different, 100);
}

TEST(Threads, AMemberThatLeavesEndsTheOthersWaiting) {
  std::vector<Communicator> members = Communicator::threads(3);
  std::vector<std::string> failures(2);
  std::thread first([&] { failures[0] = failure_of([&] { members[0].barrier(); }); });
  std::thread second([&] { failures[1] = failure_of([&] { members[1].receive(2, 0); }); });
  { const Communicator leaving = std::move(members[2]); }
  first.join();
  second.join();
  for (const std::string& failure : failures) {
    EXPECT_NE(failure.find("place 2 of 3"), std::string::npos) << failure;
  }
}

TEST(Threads, AnAbandonedGroupQuotesTheFirstCause) {
  std::vector<Communicator> members = Communicator::threads(3);
  std::string failure;
  std::thread waiting([&] { failure = failure_of([&] { members[0].all_reduce_sum(addends(0, 1000)); }); });
  members[1].abandon("the disk is full");
  members[2].abandon("a later cause");
  waiting.join();
  EXPECT_NE(failure.find("place 1 of 3"), std::string::npos) << failure;
  EXPECT_NE(failure.find("the disk is full"), std::string::npos) << failure;
  EXPECT_NE(failure_of([&] { members[0].barrier(); }).find("the disk is full"), std::string::npos);
}

TEST(Threads, WhatWasSentBeforeLeavingIsDelivered) {
  std::vector<Communicator> members = Communicator::threads(2);
  members[0].send("last words", 1, 0);
  { const Communicator leaving = std::move(members[0]); }
  EXPECT_EQ(members[1].receive(0, 0), "last words");
  EXPECT_THROW(members[1].receive(0, 0), Error);
}

TEST(Threads, UnequalLengthsAreAnErrorOnAllMembers) {
  on_threads(Communicator::threads(2),
             [](Communicator& group) { EXPECT_THROW(group.all_reduce_sum(addends(0, 10 + group.rank())), Error); });
}

TEST(Threads, WrongArgumentsAreRefused) {
  Communicator self = Communicator::self();
  EXPECT_THROW(self.broadcast({}, 1), Error);
  EXPECT_THROW(self.send("", 0, -1), Error);
  EXPECT_THROW(self.send("", 0, 1 << 15), Error);
  EXPECT_THROW(self.receive(-1, 0), Error);
  EXPECT_THROW(self.all_reduce_sum(at::full({2}, 1, at::kLong)), Error);
  EXPECT_THROW(self.split(-1, 0), Error);
}

TEST(Recording, LogsTheVerbsOfAGroupAndOfItsParts) {
  const auto verbs = std::make_shared<std::vector<std::string>>();
  Communicator group = Communicator::recording(std::move(Communicator::threads(1).front()), verbs);
  group.barrier();
  Communicator part = group.duplicate();
  part.all_gather("x");
  part.all_reduce(1.0, Reduce::kSum);
  EXPECT_EQ(*verbs, (std::vector<std::string>{"barrier", "split", "all_gather", "all_gather_equal"}));
}

TEST(RunTogether, ReturnsEachMembersOwnResult) {
  on_threads(Communicator::threads(3), [](Communicator& group) {
    EXPECT_EQ(run_together(group, "count", [&] { return 10 * group.rank(); }), 10 * group.rank());
    run_together(group, "nothing", [] {});
  });
}

TEST(RunTogether, AllThrowTheFailureOfTheLowestRank) {
  std::atomic<int> reporters{0};
  on_threads(Communicator::threads(4), [&](Communicator& group) {
    try {
      run_together(group, "load weights", [&] {
        if (group.rank() == 1) {
          fail(ExitCode::kMissingInput, "model.safetensors does not exist");
        }
        if (group.rank() == 2) {
          throw std::runtime_error("second");
        }
        return 1;
      });
      ADD_FAILURE() << "member " << group.rank() << " did not throw";
    } catch (const SharedError& error) {
      EXPECT_EQ(error.code(), ExitCode::kMissingInput);
      const std::string message = error.what();
      EXPECT_EQ(message.find("load weights: rank 1 on "), 0U) << message;
      EXPECT_NE(message.find(": model.safetensors does not exist"), std::string::npos) << message;
      reporters += error.is_reporter();
    }
    group.barrier();  // the group goes on
  });
  EXPECT_EQ(reporters, 1);
}

TEST(RunTogether, AnAgreedErrorKeepsItsMessage) {
  on_threads(Communicator::threads(2), [&](Communicator& group) {
    try {
      run_together(group, "outer",
                   [&] { run_together(group, "inner", [&] { fail(ExitCode::kIo, "no space \xff left"); }); });
      ADD_FAILURE();
    } catch (const SharedError& error) {
      EXPECT_EQ(error.code(), ExitCode::kIo);
      EXPECT_EQ(std::string(error.what()).find("inner: rank 0 on "), 0U) << error.what();
    }
  });
}

TEST(RunTogether, OtherExceptionsGetACode) {
  Communicator self = Communicator::self();
  const auto code_of = [&](const std::function<void()>& f) {
    try {
      run_together(self, "phase", f);
    } catch (const SharedError& error) {
      return error.code();
    }
    return ExitCode::kComplete;
  };
  EXPECT_EQ(code_of([] { throw std::bad_alloc(); }), ExitCode::kUnavailable);
  EXPECT_EQ(code_of([] { throw c10::OutOfMemoryError({}, "x"); }), ExitCode::kUnavailable);
  EXPECT_EQ(code_of([] { throw c10::AcceleratorError({}, 700, "CUDA error"); }), ExitCode::kUnavailable);
  EXPECT_EQ(code_of([] { throw std::logic_error("x"); }), ExitCode::kInternal);
  EXPECT_EQ(code_of([] { throw 1; }), ExitCode::kInternal);
  EXPECT_EQ(failure_of([&] { run_together(self, "parse", [] { fail(ExitCode::kUsage, "bad option"); }); }),
            "parse: bad option");
}

}  // namespace
}  // namespace evalmpi::comm

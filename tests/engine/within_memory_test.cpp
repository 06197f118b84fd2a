#include "within_memory.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "evalmpi/base/error.h"

namespace evalmpi::engine {
namespace {

// What happened, in order: the rows of each attempt, 0 for a release.
struct Trial {
  std::vector<int64_t> events;
  int64_t rows = 0;
  std::string message;
};

// A device that has memory for `fitting_rows` rows, and for any once `spurious` shortages are over.
Trial compute(int64_t rows, const MemoryRule& rule, int64_t fitting_rows, int spurious = -1) {
  Trial trial;
  const auto attempt = [&](int64_t now) {
    trial.events.push_back(now);
    if (spurious < 0 ? now > fitting_rows : spurious-- > 0)
      throw c10::OutOfMemoryError({}, "Tried to allocate 2.00 GiB, of which 1.00 GiB is free.\nMore words.");
  };
  try {
    trial.rows = compute_within_memory(rows, rule, attempt, [&] { trial.events.push_back(0); });
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUnavailable);
    trial.message = error.what();
  }
  return trial;
}

TEST(WithinMemory, what_fits_runs_once) {
  const Trial trial = compute(100, {}, 100);
  EXPECT_EQ(trial.rows, 100);
  EXPECT_EQ(trial.events, (std::vector<int64_t>{100}));
}

TEST(WithinMemory, a_shortage_that_passes_is_tried_again_with_the_same_rows) {
  const Trial trial = compute(100, {}, 0, 1);
  EXPECT_EQ(trial.rows, 100);
  EXPECT_EQ(trial.events, (std::vector<int64_t>{100, 0, 100}));
}

TEST(WithinMemory, a_shortage_that_stays_ends_with_the_figures) {
  const Trial trial = compute(100, {}, 10);
  EXPECT_EQ(trial.events, (std::vector<int64_t>{100, 0, 100}));
  EXPECT_EQ(trial.message,
            "out of memory: a step of 100 rows, tried twice: Tried to allocate 2.00 GiB, of which 1.00 GiB is free.");
}

TEST(WithinMemory, splits_only_where_that_is_allowed) {
  const Trial trial = compute(100, {.may_split = true}, 30);
  EXPECT_EQ(trial.rows, 25);
  EXPECT_EQ(trial.events, (std::vector<int64_t>{100, 0, 100, 0, 50, 0, 25}));
  const Trial hopeless = compute(100, {.may_split = true}, 10);
  EXPECT_EQ(hopeless.events, (std::vector<int64_t>{100, 0, 100, 0, 50, 0, 25}));
  EXPECT_NE(hopeless.message.find("down to 16 rows"), std::string::npos) << hopeless.message;
}

TEST(WithinMemory, a_place_for_which_others_wait_does_not_go_back) {
  const Trial trial = compute(100, {.may_repeat = false, .may_split = true}, 50);
  EXPECT_EQ(trial.events, (std::vector<int64_t>{100}));
  EXPECT_NE(trial.message.find("out of memory: a step of 100 rows: "), std::string::npos) << trial.message;
}

TEST(WithinMemory, other_failures_pass) {
  EXPECT_THROW(compute_within_memory(
                   8, {}, [](int64_t) { throw std::runtime_error("x"); }, [] { FAIL(); }),
               std::runtime_error);
}

TEST(WithinMemory, caches_can_be_emptied_without_a_device) { empty_device_caches(); }

}  // namespace
}  // namespace evalmpi::engine

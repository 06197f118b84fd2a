#include "evalmpi/store/output_lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include "error_code.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/store/status_file.h"
#include "temporary_directory.h"

namespace evalmpi::store {
namespace {
namespace fs = std::filesystem;
using std::chrono::milliseconds;

// A clock that passes only while somebody waits; `on_wait` is what happens elsewhere meanwhile.
struct FakeTime {
  std::chrono::steady_clock::time_point time{};
  std::function<void()> on_wait = [] {};
  int waits = 0;
  LockPatience patience() {
    LockPatience patience;
    patience.now = [this] { return time; };
    patience.wait = [this](milliseconds step) {
      time += step;
      ++waits;
      on_wait();
    };
    return patience;
  }
};

Json lock_content(const fs::path& directory) { return parse_json(read_file(directory / "output.lock"), "lock"); }

// Makes the lock of a run in a child process, which is then alive (until killed by the caller) or dead.
pid_t lock_in_child(const fs::path& directory) {
  int ready[2];
  if (::pipe(ready) != 0) throw std::runtime_error("pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = '0';
    try {
      const OutputLock lock = OutputLock::acquire(directory, {{"run", "child"}});
      byte = '1';
      (void)!::write(ready[1], &byte, 1);
      ::pause();
    } catch (const Error&) {
      (void)!::write(ready[1], &byte, 1);
    }
    ::_exit(1);
  }
  char byte = '0';
  EXPECT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, '1');
  ::close(ready[0]);
  ::close(ready[1]);
  return child;
}

void write_foreign_lock(const fs::path& directory, int beats) {
  const Json lock{{"run", "far"}, {"host", "elsewhere"}, {"pid", 4711}, {"started", "yesterday"}, {"beats", beats}};
  std::ofstream(directory / "output.lock") << lock.dump();
}

TEST(OutputLock, is_released_at_the_end) {
  const TemporaryDirectory directory;
  {
    const OutputLock lock = OutputLock::acquire(directory.path(), {{"run", "a"}});
    EXPECT_EQ(lock_content(directory.path())["run"], "a");
    EXPECT_EQ(lock_content(directory.path())["pid"], ::getpid());
  }
  EXPECT_FALSE(fs::exists(directory / "output.lock"));
  const OutputLock again = OutputLock::acquire(directory.path(), {{"run", "b"}});
}

TEST(OutputLock, a_second_run_of_this_process_is_refused) {
  const TemporaryDirectory directory;
  OutputLock lock = OutputLock::acquire(directory.path(), {{"run", "a"}});
  FakeTime time;
  std::string message;
  EXPECT_EQ(code_of(
                [&] {
                  OutputLock::acquire(directory.path(), {{"run", "b"}}, time.patience());
                },
                &message),
            ExitCode::kCannotWrite);
  EXPECT_NE(message.find("run a on host "), std::string::npos) << message;
  EXPECT_NE(message.find(fmt::format("process {}", ::getpid())), std::string::npos) << message;
  EXPECT_EQ(time.waits, 0);
  lock.beat();
  EXPECT_EQ(lock_content(directory.path())["run"], "a");
}

TEST(OutputLock, a_living_process_keeps_it_and_a_dead_one_loses_it_at_once) {
  const TemporaryDirectory directory;
  const pid_t child = lock_in_child(directory.path());
  FakeTime time;
  std::string message;
  EXPECT_EQ(code_of(
                [&] {
                  OutputLock::acquire(directory.path(), {{"run", "b"}}, time.patience());
                },
                &message),
            ExitCode::kCannotWrite);
  EXPECT_NE(message.find(fmt::format("process {}", child)), std::string::npos) << message;
  ::kill(child, SIGKILL);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);  // dead, but not collected by its parent
  {
    const OutputLock lock = OutputLock::acquire(directory.path(), {{"run", "b"}}, time.patience());
    EXPECT_EQ(lock_content(directory.path())["run"], "b");
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(time.waits, 0);
}

TEST(OutputLock, a_process_number_that_was_given_again_is_not_the_holder) {
  const TemporaryDirectory directory;
  {
    const OutputLock lock = OutputLock::acquire(directory.path(), {{"run", "a"}});
    Json content = lock_content(directory.path());
    content["process_start"] = "1";
    fs::remove(directory / "output.lock");
    std::ofstream(directory / "output.lock") << content.dump();
  }
  FakeTime time;
  const OutputLock lock = OutputLock::acquire(directory.path(), {{"run", "b"}}, time.patience());
  EXPECT_EQ(lock_content(directory.path())["run"], "b");
  EXPECT_EQ(time.waits, 0);
}

TEST(OutputLock, another_host_is_silent_for_thirty_seconds_before_it_loses_it) {
  const TemporaryDirectory directory;
  write_foreign_lock(directory.path(), 1);
  FakeTime time;
  const OutputLock lock = OutputLock::acquire(directory.path(), {{"run", "b"}}, time.patience());
  EXPECT_EQ(time.time.time_since_epoch(), std::chrono::seconds(30));
  EXPECT_EQ(lock_content(directory.path())["run"], "b");
}

TEST(OutputLock, another_host_that_beats_keeps_it) {
  const TemporaryDirectory directory;
  write_foreign_lock(directory.path(), 1);
  FakeTime time;
  time.on_wait = [&] {
    if (time.waits == 50) write_foreign_lock(directory.path(), 2);  // 25 s later
  };
  std::string message;
  EXPECT_EQ(code_of(
                [&] {
                  OutputLock::acquire(directory.path(), {{"run", "b"}}, time.patience());
                },
                &message),
            ExitCode::kCannotWrite);
  EXPECT_EQ(time.waits, 50);
  EXPECT_NE(message.find("run far on host elsewhere, process 4711, started yesterday"), std::string::npos) << message;
}

TEST(OutputLock, another_host_that_finishes_gives_way) {
  const TemporaryDirectory directory;
  write_foreign_lock(directory.path(), 1);
  FakeTime time;
  time.on_wait = [&] {
    if (time.waits == 3) fs::remove(directory / "output.lock");
  };
  const OutputLock lock = OutputLock::acquire(directory.path(), {{"run", "b"}}, time.patience());
  EXPECT_EQ(time.waits, 3);
}

TEST(OutputLock, a_lock_without_content_is_watched_like_one_of_another_host) {
  const TemporaryDirectory directory;
  std::ofstream(directory / "output.lock").flush();
  FakeTime time;
  const OutputLock lock = OutputLock::acquire(directory.path(), {{"run", "b"}}, time.patience());
  EXPECT_EQ(time.time.time_since_epoch(), std::chrono::seconds(30));
}

TEST(OutputLock, beats_show_and_a_lost_lock_is_noticed_and_left_alone) {
  const TemporaryDirectory directory;
  {
    OutputLock lock = OutputLock::acquire(directory.path(), {{"run", "a"}});
    const std::string before = read_file(directory / "output.lock");
    lock.beat();
    const std::string after = read_file(directory / "output.lock");
    EXPECT_NE(before, after);
    EXPECT_EQ(before.size(), after.size());
    fs::remove(directory / "output.lock");
    write_foreign_lock(directory.path(), 1);
    std::string message;
    EXPECT_EQ(code_of([&] { lock.beat(); }, &message), ExitCode::kCannotWrite);
    EXPECT_NE(message.find("elsewhere"), std::string::npos) << message;
  }
  EXPECT_EQ(lock_content(directory.path())["run"], "far");
}

TEST(OutputLock, of_many_takers_of_a_dead_lock_one_wins) {
  const TemporaryDirectory directory;
  for (int round = 0; round < 20; ++round) {
    const pid_t child = lock_in_child(directory.path());
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    std::atomic<int> winners{0};
    std::atomic<int> refused{0};
    std::vector<std::optional<OutputLock>> locks(8);
    std::vector<std::thread> threads;
    for (auto& lock : locks) {
      threads.emplace_back([&] {
        const ExitCode code = code_of([&] {
          lock.emplace(OutputLock::acquire(directory.path(), {{"run", "b"}}));
          ++winners;
        });
        if (code == ExitCode::kCannotWrite) ++refused;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(refused, 7);
  }
}

TEST(OutputDirectory, is_made_with_its_parents) {
  const TemporaryDirectory directory;
  prepare_output_directory(directory / "a/b c/d");
  EXPECT_TRUE(fs::is_directory(directory / "a/b c/d"));
  EXPECT_TRUE(fs::is_empty(directory / "a/b c/d"));
  prepare_output_directory(directory / "a/b c/d");
}

TEST(OutputDirectory, a_file_in_its_place_is_refused) {
  const TemporaryDirectory directory;
  std::ofstream(directory / "f") << "x";
  EXPECT_EQ(code_of([&] { prepare_output_directory(directory / "f"); }), ExitCode::kCannotWrite);
  EXPECT_EQ(code_of([&] { prepare_output_directory(directory / "f/g"); }), ExitCode::kCannotWrite);
  EXPECT_EQ(code_of([&] { prepare_output_directory("/proc/evalmpi"); }), ExitCode::kCannotWrite);
}

TEST(StatusFile, complete_is_the_last_word) {
  const TemporaryDirectory directory;
  EXPECT_FALSE(read_status(directory.path()).has_value());
  EXPECT_FALSE(is_complete(directory.path()));
  write_status(directory.path(), {{"state", "running"}, {"done", 3}});
  EXPECT_EQ(read_status(directory.path()).value()["done"], 3);
  EXPECT_FALSE(is_complete(directory.path()));
  write_status(directory.path(), {{"state", "complete"}});
  EXPECT_TRUE(is_complete(directory.path()));
  EXPECT_EQ(code_of([&] { write_status(directory.path(), {{"state", "fine"}}); }), ExitCode::kInternal);
  std::ofstream(directory / "status.json") << "{\"state\": \"comp";
  EXPECT_EQ(code_of([&] { read_status(directory.path()); }), ExitCode::kBadInput);
}

}  // namespace
}  // namespace evalmpi::store

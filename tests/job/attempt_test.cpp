#include "evalmpi/job/attempt.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "error_code.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/store/status_file.h"
#include "temporary_directory.h"

namespace evalmpi::job {
namespace {
namespace fs = std::filesystem;

AttemptOptions options_for(const fs::path& directory) {
  AttemptOptions options;
  options.directory = directory;
  options.must_match = {{"model", "abc"}, {"tokenizer", "def"}};
  options.may_differ = {{"tp", 3}};
  return options;
}

TEST(Attempt, the_first_writes_the_manifest_and_the_second_continues_its_run) {
  const TemporaryDirectory directory;
  const fs::path output = directory / "new/run";
  AttemptIdentity first;
  {
    const Attempt attempt = Attempt::open(options_for(output));
    first = attempt.identity();
    EXPECT_EQ(first.number, 0);
    EXPECT_FALSE(attempt.is_resume());
    open_log(first, 0, {{"numerics_class", "c"}}).append("one");
    open_log(first, 2, Json::object()).append("two");
  }
  Json manifest = read_json_file(output / "manifest.json");
  AttemptOptions options = options_for(output);
  options.may_differ = {{"tp", 1}};
  const Attempt attempt = Attempt::open(options);
  EXPECT_EQ(attempt.identity().number, 1);
  EXPECT_TRUE(attempt.is_resume());
  EXPECT_EQ(attempt.identity().run_id, first.run_id);
  EXPECT_NE(attempt.identity().token, first.token);
  manifest["may_differ"] = options.may_differ;
  EXPECT_EQ(read_json_file(output / "manifest.json"), manifest) << "its options are the last attempt's";

  open_log(attempt.identity(), 0, Json::object()).append("this attempt's own");
  std::vector<std::string> found;
  const auto logs = attempt.read_logs(
      [&](const std::string& name, const Json& header, std::string_view payload, const store::LogPosition& position) {
        EXPECT_EQ(header["run_id"], first.run_id);
        EXPECT_EQ(store::read_record(attempt.identity().log_directory() / name, position), payload);
        found.push_back(fmt::format("{} {}", header["rank"].get<int>(), payload));
      });
  EXPECT_EQ(found, (std::vector<std::string>{"0 one", "2 two"}));
  ASSERT_EQ(logs.size(), 2u);
  EXPECT_EQ(logs[0].scan.header["numerics_class"], "c");
  EXPECT_EQ(logs[0].name, fmt::format("rank0-attempt0-{}.log", first.token));
}

TEST(Attempt, an_attempt_that_died_before_its_first_log_counts_by_its_status) {
  const TemporaryDirectory directory;
  Attempt::open(options_for(directory.path())).write_status("starting");
  Attempt::open(options_for(directory.path())).write_status("running", {{"records", 3}});
  const Attempt attempt = Attempt::open(options_for(directory.path()));
  EXPECT_EQ(attempt.identity().number, 2);
  const Json status = store::read_status(directory.path()).value();
  EXPECT_EQ(status["state"], "running");
  EXPECT_EQ(status["records"], 3);
  EXPECT_EQ(status["run_id"], attempt.identity().run_id);
}

TEST(Attempt, changed_options_are_listed_with_both_values) {
  const TemporaryDirectory directory;
  {
    const Attempt attempt = Attempt::open(options_for(directory.path()));
    open_log(attempt.identity(), 0, Json::object()).append("a record");
  }
  const auto expect_mismatch = [&](Json must_match, const std::string& text) {
    AttemptOptions options = options_for(directory.path());
    options.must_match = std::move(must_match);
    std::string message;
    EXPECT_EQ(code_of([&] { Attempt::open(options); }, &message), ExitCode::kMismatch);
    EXPECT_NE(message.find(text), std::string::npos) << message;
    EXPECT_FALSE(fs::exists(directory / "output.lock"));
  };
  expect_mismatch({{"model", "xyz"}, {"tokenizer", "def"}}, "(model: was \"abc\", now \"xyz\")");
  expect_mismatch({{"model", "abc"}}, "(tokenizer: was \"def\", now (none))");
  expect_mismatch({{"model", "abc"}, {"tokenizer", "def"}, {"seed", 1}}, "(seed: was (none), now 1)");
  expect_mismatch({{"model", 1}, {"tokenizer", nullptr}},
                  "(model: was \"abc\", now 1; tokenizer: was \"def\", now null)");
  EXPECT_EQ(Attempt::open(options_for(directory.path())).identity().number, 1);
}

TEST(Attempt, attempts_without_a_record_bind_nobody) {
  const TemporaryDirectory directory;
  {
    const Attempt attempt = Attempt::open(options_for(directory.path()));
    open_log(attempt.identity(), 0, Json::object());
  }
  AttemptOptions options = options_for(directory.path());
  options.must_match = {{"model", "xyz"}};
  { const Attempt attempt = Attempt::open(options); }
  EXPECT_EQ(read_json_file(directory / "manifest.json")["must_match"], options.must_match);
}

TEST(Attempt, one_at_a_time) {
  const TemporaryDirectory directory;
  const Attempt attempt = Attempt::open(options_for(directory.path()));
  std::string message;
  EXPECT_EQ(code_of([&] { Attempt::open(options_for(directory.path())); }, &message), ExitCode::kCannotWrite);
  EXPECT_NE(message.find(attempt.identity().run_id), std::string::npos) << message;
}

TEST(Attempt, bad_directories) {
  const TemporaryDirectory directory;
  std::ofstream(directory / "file") << "x";
  EXPECT_EQ(code_of([&] { Attempt::open(options_for(directory / "file")); }), ExitCode::kCannotWrite);
  std::ofstream(directory / "manifest.json") << R"({"format": "other"})";
  EXPECT_EQ(code_of([&] { Attempt::open(options_for(directory.path())); }), ExitCode::kBadInput);
  EXPECT_EQ(read_file(directory / "manifest.json"), R"({"format": "other"})");
}

TEST(Attempt, identity_travels_as_json) {
  const AttemptIdentity identity{"/a b/c", "run", 4, "token"};
  const AttemptIdentity copy = AttemptIdentity::from_json(identity.to_json());
  EXPECT_EQ(copy.directory, identity.directory);
  EXPECT_EQ(copy.log_path(7), "/a b/c/log/rank7-attempt4-token.log");
}

TEST(Attempt, a_damaged_log_is_named) {
  const TemporaryDirectory directory;
  fs::path log;
  {
    const Attempt attempt = Attempt::open(options_for(directory.path()));
    log = attempt.identity().log_path(0);
    store::LogWriter writer = open_log(attempt.identity(), 0, Json::object());
    writer.append("one");
    writer.append("two");
  }
  std::string bytes = read_file(log);
  bytes[bytes.size() - 20] ^= 1;
  std::ofstream(log, std::ios::binary) << bytes;
  const Attempt attempt = Attempt::open(options_for(directory.path()));
  std::string message;
  const auto ignore = [](const std::string&, const Json&, std::string_view, const store::LogPosition&) {};
  EXPECT_EQ(code_of([&] { attempt.read_logs(ignore); }, &message), ExitCode::kBadInput);
  EXPECT_NE(message.find(log.filename().string()), std::string::npos) << message;
}

TEST(NoteEnding, is_the_last_word_whatever_came_before) {
  const TemporaryDirectory directory;
  const Attempt attempt = Attempt::open(options_for(directory / "run"));
  const auto state = [&] { return store::read_status(directory / "run")->at("state"); };
  EXPECT_TRUE(note_ending(attempt.identity(), ExitCode::kStoppedEarly, "rank 1 hangs"))
      << "before the attempt wrote anything";
  EXPECT_EQ(store::read_status(directory / "run")->at("exit_code"), 75);
  EXPECT_FALSE(attempt.write_status("running"));
  EXPECT_FALSE(note_ending(attempt.identity(), ExitCode::kStoppedEarly, "rank 2 hangs"));
  EXPECT_EQ(store::read_status(directory / "run")->at("error"), "rank 1 hangs");
  EXPECT_TRUE(attempt.write_status("complete"));
  AttemptIdentity next = attempt.identity();
  next.number += 1;
  EXPECT_TRUE(note_ending(next, ExitCode::kStoppedEarly, "rank 1 hangs"))
      << "an earlier attempt's ending is not its own";
  EXPECT_EQ(state(), "stopped");
  EXPECT_FALSE(note_ending(attempt.identity(), ExitCode::kStoppedEarly, "too late"));
  EXPECT_EQ(store::read_status(directory / "run")->at("attempt"), next.number);
  next.number += 1;
  EXPECT_TRUE(note_ending(next, ExitCode::kUnavailable, "the network is gone"));
  EXPECT_EQ(state(), "failed");
  EXPECT_EQ(store::read_status(directory / "run")->at("exit_code"), 69);
}

TEST(TokenFile, leaders_see_what_rank_0_wrote) {
  const TemporaryDirectory directory;
  const Attempt attempt = Attempt::open(options_for(directory.path()));
  place_token_file(attempt.identity());
  check_token_file(attempt.identity(), 1);
  AttemptIdentity elsewhere = attempt.identity();
  elsewhere.directory = directory / "log";
  std::string message;
  EXPECT_EQ(code_of([&] { check_token_file(elsewhere, 1, std::chrono::milliseconds(0)); }, &message),
            ExitCode::kCannotWrite);
  EXPECT_NE(message.find("rank 1 on "), std::string::npos) << message;
  remove_token_file(attempt.identity());
  EXPECT_EQ(code_of([&] { check_token_file(attempt.identity(), 1, std::chrono::milliseconds(0)); }),
            ExitCode::kCannotWrite);
}

}  // namespace
}  // namespace evalmpi::job

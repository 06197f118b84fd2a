#include "evalmpi/store/record_log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <random>
#include <thread>

#include "error_code.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "temporary_directory.h"

namespace evalmpi::store {
namespace {
namespace fs = std::filesystem;

struct Record {
  std::string payload;
  LogPosition position;
};

std::string random_payload(std::mt19937& random, size_t size) {
  std::string payload(size, '\0');
  for (char& byte : payload) byte = static_cast<char>(random());
  return payload;
}

std::vector<Record> write_log(const fs::path& path, int num_records, size_t max_bytes = 200) {
  std::mt19937 random(7);
  LogWriter log(path, {{"run", "abc"}, {"rank", 3}});
  std::vector<Record> records;
  for (int i = 0; i < num_records; ++i) {
    std::string payload = random_payload(random, random() % max_bytes);
    const LogPosition position = log.append_unsynced(payload);
    records.push_back({std::move(payload), position});
  }
  log.sync();
  return records;
}

void write_bytes(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::vector<std::string> payloads(const fs::path& path, LogScan* scan = nullptr) {
  std::vector<std::string> found;
  const LogScan result =
      scan_log(path, [&](std::string_view payload, const LogPosition&) { found.emplace_back(payload); });
  if (scan != nullptr) *scan = result;
  return found;
}

TEST(RecordLog, scan_gives_back_what_was_appended) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.log";
  const std::vector<Record> records = write_log(path, 50);
  size_t i = 0;
  const LogScan scan = scan_log(path, [&](std::string_view payload, const LogPosition& position) {
    ASSERT_LT(i, records.size());
    EXPECT_EQ(payload, records[i].payload);
    EXPECT_EQ(position, records[i].position);
    EXPECT_EQ(read_record(path, position), records[i].payload);
    ++i;
  });
  EXPECT_EQ(scan.records, records.size());
  EXPECT_EQ(scan.dropped_tail_bytes, 0u);
  EXPECT_EQ(scan.header["run"], "abc");
  EXPECT_EQ(scan.header["rank"], 3);
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(RecordLog, records_larger_than_the_read_window_are_whole) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.log";
  const std::vector<Record> records = write_log(path, 8, 3 << 20);
  const std::vector<std::string> found = payloads(path);
  ASSERT_EQ(found.size(), records.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(found[i] == records[i].payload) << i;
}

// A kill or a full disk can end the file anywhere: exactly the records before the cut are there.
TEST(RecordLog, every_cut_of_the_last_three_records_drops_only_the_incomplete_one) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.log";
  const std::vector<Record> records = write_log(path, 12);
  const std::string bytes = read_file(path);
  const fs::path cut = directory / "cut.log";
  for (uint64_t end = records[9].position.offset; end < bytes.size(); ++end) {
    write_bytes(cut, bytes.substr(0, end));
    LogScan scan;
    const std::vector<std::string> found = payloads(cut, &scan);
    size_t whole = 9;
    while (whole + 1 < records.size() && records[whole + 1].position.offset <= end) ++whole;
    ASSERT_EQ(found.size(), whole) << "cut at " << end;
    EXPECT_EQ(scan.dropped_tail_bytes, end - records[whole].position.offset);
    for (size_t i = 0; i < whole; ++i) EXPECT_EQ(found[i], records[i].payload);
  }
}

TEST(RecordLog, cuts_within_the_header_leave_an_empty_log) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.log";
  const std::vector<Record> records = write_log(path, 1);
  const std::string bytes = read_file(path);
  for (uint64_t end = 0; end < records[0].position.offset; ++end) {
    write_bytes(path, bytes.substr(0, end));
    LogScan scan;
    EXPECT_TRUE(payloads(path, &scan).empty());
    EXPECT_TRUE(scan.header.is_null());
  }
}

TEST(RecordLog, no_flipped_bit_goes_undetected) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.log";
  const std::vector<Record> records = write_log(path, 12);
  const std::string bytes = read_file(path);
  const fs::path flipped = directory / "flipped.log";
  std::mt19937 random(11);
  std::vector<uint64_t> bits;
  for (int i = 0; i < 1000; ++i) bits.push_back(random() % (8 * bytes.size()));
  // All bits of a frame's head, where a wrong length could pass for a cut.
  for (uint64_t bit = 0; bit < 96; ++bit) bits.push_back(8 * records[5].position.offset + bit);
  for (uint64_t bit = 0; bit < 96; ++bit) bits.push_back(8 * records.back().position.offset + bit);
  for (const uint64_t bit : bits) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    write_bytes(flipped, damaged);
    std::string message;
    ASSERT_EQ(code_of([&] { payloads(flipped); }, &message), ExitCode::kBadInput) << "bit " << bit;
    EXPECT_NE(message.find("flipped.log"), std::string::npos) << message;
  }
}

TEST(RecordLog, damage_is_named_by_byte_and_record) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.log";
  const std::vector<Record> records = write_log(path, 6);
  std::string bytes = read_file(path);
  bytes[records[3].position.offset + 12] ^= 1;
  write_bytes(path, bytes);
  std::string message;
  EXPECT_EQ(code_of([&] { payloads(path); }, &message), ExitCode::kBadInput);
  EXPECT_NE(message.find(fmt::format("byte {} (record 4)", records[3].position.offset)), std::string::npos) << message;
  EXPECT_EQ(code_of([&] { read_record(path, records[3].position); }), ExitCode::kBadInput);
  EXPECT_EQ(read_record(path, records[4].position), records[4].payload);
}

// After a power loss the file's length may be ahead of its blocks.
TEST(RecordLog, a_tail_of_unwritten_blocks_is_an_incomplete_tail) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.log";
  const std::vector<Record> records = write_log(path, 6);
  const std::string bytes = read_file(path);
  write_bytes(path, bytes + std::string(5000, '\0'));
  LogScan scan;
  EXPECT_EQ(payloads(path, &scan).size(), 6u);
  EXPECT_EQ(scan.dropped_tail_bytes, 5000u);

  const fs::path partly = directory / "partly.log";
  {
    LogWriter log(partly, Json::object());
    log.append("first");
    log.append(std::string(4000, 'x'));
  }
  std::string torn = read_file(partly);
  std::fill(torn.begin() + 1024, torn.end(), '\0');
  write_bytes(partly, torn);
  EXPECT_EQ(payloads(partly, &scan), std::vector<std::string>{"first"});
  EXPECT_GT(scan.dropped_tail_bytes, 0u);
}

TEST(RecordLog, refuses_what_is_no_log) {
  const TemporaryDirectory directory;
  write_bytes(directory / "text.log", "This is a text that somebody put here.");
  EXPECT_EQ(code_of([&] { payloads(directory / "text.log"); }), ExitCode::kBadInput);
  EXPECT_EQ(code_of([&] { payloads(directory / "absent.log"); }), ExitCode::kMissingInput);
  EXPECT_EQ(code_of([&] { payloads(directory.path()); }), ExitCode::kBadInput);
  write_log(directory / "a.log", 1);
  EXPECT_EQ(code_of([&] { write_log(directory / "a.log", 1); }), ExitCode::kCannotWrite)
      << "an existing log is never opened";
  EXPECT_EQ(code_of([&] { write_log(directory / "none" / "a.log", 1); }), ExitCode::kCannotWrite);
}

TEST(RecordLog, threads_share_a_writer) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.log";
  constexpr int kThreads = 4;
  constexpr int kEach = 50;
  {
    LogWriter log(path, Json::object());
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          const std::string payload = fmt::format("{}:{}", t, i);
          EXPECT_EQ(read_record(path, log.append(payload)), payload);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  std::vector<std::string> found = payloads(path);
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found.size(), static_cast<size_t>(kThreads * kEach));
  EXPECT_EQ(std::unique(found.begin(), found.end()), found.end());
}

TEST(RecordLog, a_full_disk_is_an_error_and_poisons_the_writer) {
  const SmallDisk disk("64k");
  if (!disk.is_mounted()) GTEST_SKIP() << "mounting a tmpfs needs root";
  const fs::path path = disk.path() / "a.log";
  LogWriter log(path, Json::object());
  uint64_t written = 0;
  std::string message;
  ExitCode code = ExitCode::kComplete;
  while (code == ExitCode::kComplete && written < 1000) {
    code = code_of([&] { log.append(std::string(1000, 'x')); }, &message);
    if (code == ExitCode::kComplete) ++written;
  }
  EXPECT_EQ(code, ExitCode::kIo);
  EXPECT_NE(message.find(path.string()), std::string::npos) << message;
  EXPECT_NE(message.find("1012 bytes"), std::string::npos) << message;
  EXPECT_EQ(code_of([&] { log.append("x"); }), ExitCode::kIo) << "small enough to fit, but what is on disk is unknown";
  EXPECT_EQ(code_of([&] { log.sync(); }), ExitCode::kIo);
  EXPECT_EQ(payloads(path).size(), written);
}

TEST(RecordLog, lists_logs_by_attempt_and_leader) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(list_logs(directory / "none").empty());
  for (const char* name : {"rank10-attempt0-abc.log", "rank2-attempt1-x1.log", "rank2-attempt0-zz.log", "notes.txt",
                           "rank-attempt0-a.log", "rank1-attempt0-.log", "rank1-attempt0-A.log",
                           "rank01-attempt0-a.log", "rank1-attempt0-a.log.bak", "rank99999999999-attempt0-a.log"}) {
    write_bytes(directory / name, "");
  }
  std::vector<std::string> names;
  for (const LogName& name : list_logs(directory.path())) names.push_back(name.file_name());
  EXPECT_EQ(names,
            (std::vector<std::string>{"rank2-attempt0-zz.log", "rank10-attempt0-abc.log", "rank2-attempt1-x1.log"}));
}

}  // namespace
}  // namespace evalmpi::store

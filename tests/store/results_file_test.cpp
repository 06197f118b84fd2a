#include "evalmpi/store/results_file.h"

#include <gtest/gtest.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>

#include "error_code.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "temporary_directory.h"

namespace evalmpi::store {
namespace {
namespace fs = std::filesystem;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TaskResults make_task(const std::string& name, int num_documents, int requests_each, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  TaskResults task;
  task.name = name;
  task.attributes = {{"version", 1.0},
                     {"num_fewshot", 5},
                     {"is_group", false},
                     {"alias", nullptr},
                     {"config", Json{{"task", name}, {"doc_to_text", "{{question}}\n"}}}};
  task.numerics_classes = {"cpu avx2 float32 tp1", "cpu avx2 float32 tp3"};
  for (int d = 0; d < num_documents; ++d) {
    task.documents.doc_id.push_back(d * 7);
    task.documents.doc_hash.push_back(hash128(name + std::to_string(d)).hex());
    task.documents.target.push_back(d % 3 == 0 ? "" : "größer 東京 \U0001F600");
    for (int r = 0; r < requests_each; ++r) {
      RequestTable& table = task.requests;
      table.doc.push_back(d);
      table.index.push_back(r);
      table.repeat.push_back(d % 2);
      table.prompt_tokens.push_back(r == 1 ? 40 + d : -1);
      table.finish.push_back(static_cast<int8_t>(d % 4 - 1));
      if (r == 1) {
        task.timings.row.push_back(static_cast<int32_t>(table.doc.size()) - 1);
        task.timings.first_token_seconds.push_back(0.5f * static_cast<float>(d));
        task.timings.mean_gap_seconds.push_back(0.25f);
        task.timings.max_gap_seconds.push_back(static_cast<float>(std::abs(normal(random))));
      }
      table.key.push_back(hash128(fmt::format("{} {} {}", name, d, r)));
      table.logprob.push_back(r == 2 ? kNaN : -std::abs(normal(random)));
      table.is_greedy.push_back(static_cast<int8_t>(r - 1));
      table.token_count.push_back(r == 2 ? -1 : r + 1);
      for (int t = 0; t < (r == 2 ? 0 : r + 1); ++t) {
        table.token_logprob.push_back(static_cast<float>(normal(random)));
        table.token_is_argmax.push_back(static_cast<int8_t>(random() % 2));
      }
      table.token_offset.push_back(static_cast<int64_t>(table.token_logprob.size()));
      table.text.push_back(r == 1 ? std::string(random() % 100, 'x') + "\n\t\"é" : "");
      table.numerics_class.push_back(r % 3 - 1);
    }
  }
  task.metrics = {{"acc", "exact_match"}, {"none", "strict-match"}, {0.1, kNaN}, {0.01, kNaN}, {1, -1}};
  return task;
}

ResultsFile make_results(int num_documents = 20) {
  ResultsFile results;
  results.run = {{"zeta", "first in order, not by name"},
                 {"tp", 3},
                 {"seed", uint64_t{1} << 63},
                 {"hours", 0.1},
                 {"strict", true},
                 {"limit", nullptr},
                 {"tasks", Json{"a", "b"}},
                 {"empty", ""}};
  results.tasks.push_back(make_task("mmlu_anatomy", num_documents, 4, 1));
  results.tasks.push_back(make_task("gsm8k", num_documents, 2, 2));
  results.tasks.emplace_back().name = "empty";
  return results;
}

// Equal as bits: NaN equals NaN, 0 does not equal -0.
template <typename T>
void expect_equal_bits(const std::vector<T>& a, const std::vector<T>& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_TRUE(a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

void expect_equal(const TaskResults& a, const TaskResults& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.documents, b.documents);
  expect_equal_bits(a.requests.doc, b.requests.doc);
  expect_equal_bits(a.requests.index, b.requests.index);
  EXPECT_EQ(a.requests.key, b.requests.key);
  expect_equal_bits(a.requests.repeat, b.requests.repeat);
  expect_equal_bits(a.requests.prompt_tokens, b.requests.prompt_tokens);
  expect_equal_bits(a.requests.finish, b.requests.finish);
  EXPECT_EQ(a.timings, b.timings);
  expect_equal_bits(a.requests.logprob, b.requests.logprob);
  expect_equal_bits(a.requests.is_greedy, b.requests.is_greedy);
  expect_equal_bits(a.requests.token_count, b.requests.token_count);
  expect_equal_bits(a.requests.token_offset, b.requests.token_offset);
  expect_equal_bits(a.requests.token_logprob, b.requests.token_logprob);
  expect_equal_bits(a.requests.token_is_argmax, b.requests.token_is_argmax);
  EXPECT_EQ(a.requests.text, b.requests.text);
  expect_equal_bits(a.requests.numerics_class, b.requests.numerics_class);
  EXPECT_EQ(a.numerics_classes, b.numerics_classes);
  EXPECT_EQ(a.metrics.name, b.metrics.name);
  EXPECT_EQ(a.metrics.filter, b.metrics.filter);
  expect_equal_bits(a.metrics.value, b.metrics.value);
  expect_equal_bits(a.metrics.standard_error, b.metrics.standard_error);
  expect_equal_bits(a.metrics.higher_is_better, b.metrics.higher_is_better);
}

size_t num_files(const fs::path& directory) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

TEST(ResultsFile, reads_back_what_was_written) {
  const TemporaryDirectory directory;
  const ResultsFile written = make_results();
  write_results(directory / "results.h5", written);
  const ResultsFile read = read_results(directory / "results.h5");
  ASSERT_EQ(read.tasks.size(), written.tasks.size());
  for (size_t i = 0; i < read.tasks.size(); ++i) expect_equal(written.tasks[i], read.tasks[i]);
  EXPECT_EQ(num_files(directory.path()), 1u) << "no temporary file is left";
}

TEST(ResultsFile, attributes_keep_their_order_and_kinds) {
  const TemporaryDirectory directory;
  write_results(directory / "results.h5", make_results());
  const ResultsFile read = read_results(directory / "results.h5");
  const Attributes run{{"zeta", "first in order, not by name"},
                       {"tp", 3},
                       {"seed", uint64_t{1} << 63},
                       {"hours", 0.1},
                       {"strict", true},
                       {"limit", nullptr},
                       {"tasks", R"(["a","b"])"},
                       {"empty", ""}};
  EXPECT_EQ(read.run, run);
  EXPECT_EQ(read.tasks[0].attributes.at(1), (Attributes::value_type{"num_fewshot", 5}));
  EXPECT_EQ(read.tasks[0].attributes.at(3), (Attributes::value_type{"alias", nullptr}));
}

TEST(ResultsFile, text_that_hdf5_cannot_hold_is_replaced_visibly) {
  const TemporaryDirectory directory;
  ResultsFile results = make_results(1);
  results.tasks[0].requests.text[0] = std::string("a\0b", 3) + "\xff\xed\xa0\x80z\xc3";
  results.run = {{"note", std::string("x\0", 2)}};
  write_results(directory / "results.h5", results);
  const ResultsFile read = read_results(directory / "results.h5");
  EXPECT_EQ(read.tasks[0].requests.text[0], "a\u2400b\ufffd\ufffd\ufffd\ufffdz\ufffd");
  EXPECT_EQ(read.run[0].second, "x\u2400");
}

TEST(ResultsFile, equal_results_give_equal_bytes) {
  const TemporaryDirectory directory;
  write_results(directory / "a.h5", make_results());
  write_results(directory / "b.h5", make_results());
  EXPECT_TRUE(read_file(directory / "a.h5") == read_file(directory / "b.h5"));
}

TEST(ResultsFile, an_older_file_is_replaced_only_by_a_whole_one) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "results.h5";
  write_results(path, make_results(3));
  const std::string before = read_file(path);
  ResultsFile broken = make_results(3);
  broken.tasks[1].requests.logprob.pop_back();
  EXPECT_EQ(code_of([&] { write_results(path, broken); }), ExitCode::kInternal);
  EXPECT_TRUE(read_file(path) == before);
  EXPECT_EQ(num_files(directory.path()), 1u);
  write_results(path, make_results(4));
  EXPECT_EQ(read_results(path).tasks[0].documents.doc_id.size(), 4u);
}

TEST(ResultsFile, a_directory_that_is_not_there_cannot_be_written) {
  const TemporaryDirectory directory;
  std::string message;
  EXPECT_EQ(code_of([&] { write_results(directory / "none" / "results.h5", make_results(1)); }, &message),
            ExitCode::kCannotWrite);
  EXPECT_NE(message.find("none/results.h5"), std::string::npos) << message;
}

TEST(ResultsFile, a_full_disk_leaves_nothing_at_the_final_name) {
  for (const char* size : {"4k", "16k", "64k", "256k", "1m"}) {
    const SmallDisk disk(size);
    if (!disk.is_mounted()) GTEST_SKIP() << "mounting a tmpfs needs root";
    std::string message;
    EXPECT_EQ(code_of([&] { write_results(disk.path() / "results.h5", make_results(20'000)); }, &message),
              ExitCode::kIo)
        << size << ": " << message;
    EXPECT_NE(message.find("results.h5"), std::string::npos) << message;
    EXPECT_EQ(num_files(disk.path()), 0u) << size;
  }
  const TemporaryDirectory directory;  // the library works on after that
  write_results(directory / "results.h5", make_results(2));
  EXPECT_EQ(read_results(directory / "results.h5").tasks.size(), 3u);
}

// How one child process ended that published `results` and was killed by its own timer meanwhile, if it lived so long.
bool is_killed_while_publishing(const fs::path& path, const ResultsFile& results, std::chrono::microseconds after) {
  const pid_t child = ::fork();
  if (child == 0) {
    const itimerval timer{{0, 0}, {after.count() / 1'000'000, after.count() % 1'000'000}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);  // nobody handles its signal
    write_results(path, results);
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFSIGNALED(status);
}

TEST(ResultsFile, a_writer_killed_at_any_time_leaves_a_whole_file_or_none) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "results.h5";
  const ResultsFile results = make_results(300);
  write_results(path, results);
  const auto start = std::chrono::steady_clock::now();
  write_results(path, results);
  const auto usual = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
  std::mt19937_64 random(3);
  int killed = 0, whole = 0;
  for (int i = 0; i < 200; ++i) {
    fs::remove(path);
    const std::chrono::microseconds after(1 + random() % static_cast<uint64_t>(usual.count() * 5 / 4));
    killed += is_killed_while_publishing(path, results, after);
    if (!fs::exists(path)) continue;
    ++whole;
    const ResultsFile read = read_results(path);
    ASSERT_EQ(read.tasks.size(), results.tasks.size());
    for (size_t t = 0; t < read.tasks.size(); ++t) expect_equal(results.tasks[t], read.tasks[t]);
  }
  EXPECT_GT(killed, 0);
  RecordProperty("killed", killed);
  RecordProperty("whole", whole);
}

TEST(ResultsFile, refuses_other_files) {
  const TemporaryDirectory directory;
  EXPECT_EQ(code_of([&] { read_results(directory / "absent.h5"); }), ExitCode::kMissingInput);
  std::ofstream(directory / "text.h5") << "no HDF5";
  std::string message;
  EXPECT_EQ(code_of([&] { read_results(directory / "text.h5"); }, &message), ExitCode::kBadInput);
  EXPECT_NE(message.find("text.h5"), std::string::npos) << message;
}

TEST(ResultsFile, no_flipped_bit_goes_undetected) {
  const TemporaryDirectory directory;
  write_results(directory / "results.h5", make_results(5));
  const std::string bytes = read_file(directory / "results.h5");
  std::mt19937_64 random(7);
  for (int i = 0; i < 2000; ++i) {
    std::string flipped = bytes;
    const uint64_t bit = random() % (8 * bytes.size());
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    std::ofstream(directory / "flipped.h5", std::ios::binary | std::ios::trunc) << flipped;
    std::string message;
    EXPECT_EQ(code_of([&] { read_results(directory / "flipped.h5"); }, &message), ExitCode::kBadInput) << bit;
    EXPECT_NE(message.find("flipped.h5: damaged"), std::string::npos) << message;
  }
}

TEST(ResultsFile, cut_files_are_refused) {
  const TemporaryDirectory directory;
  write_results(directory / "results.h5", make_results(5));
  const std::string bytes = read_file(directory / "results.h5");
  for (size_t end = 0; end < bytes.size(); end += bytes.size() / 40) {
    std::ofstream(directory / "cut.h5", std::ios::binary | std::ios::trunc) << bytes.substr(0, end);
    EXPECT_EQ(code_of([&] { read_results(directory / "cut.h5"); }), ExitCode::kBadInput) << end;
  }
}

}  // namespace
}  // namespace evalmpi::store

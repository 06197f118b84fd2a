#include "evalmpi/data/readers.h"

#include <gtest/gtest.h>

#include <fstream>

#include "evalmpi/base/error.h"

namespace evalmpi::data {
namespace {

namespace fs = std::filesystem;

const fs::path kFixtures = EVALMPI_SOURCE_DIR "/tests/fixtures/data";

class ReadersTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / (std::string("evalmpi_readers_") + info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }

  fs::path folder_;
};

// The message of the kBadInput error that `work` must end in.
template <typename Work>
std::string problem_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

void expect_has(const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), text.npos) << text; }

// Every file of the fixture folder was read by `datasets` (tools/fixtures/make_data_fixtures.py).
TEST_F(ReadersTest, ReadAsDatasets) {
  const Json expected = read_json_file(kFixtures / "expected_files.json");
  ASSERT_GE(expected.size(), 15u);
  for (const Json& entry : expected) {
    SCOPED_TRACE(entry["file"].get<std::string>());
    const Table table = read_table(kFixtures / entry["file"].get<std::string>(), entry["kwargs"]);
    EXPECT_EQ(Json(table.columns).dump(), entry["columns"].dump());
    ASSERT_EQ(table.rows.size(), entry["rows"].size());
    for (size_t i = 0; i < table.rows.size(); ++i) EXPECT_EQ(table.rows[i].dump(), entry["rows"][i].dump());
  }
}

TEST_F(ReadersTest, JsonlErrorsNameFileAndLine) {
  const fs::path file = write("rows.jsonl", "{\"a\": 1}\n\n{\"a\": 2\n");
  expect_has(problem_of([&] { read_jsonl(file); }), "rows.jsonl:3");
  const fs::path list = write("list.jsonl", "{\"a\": 1}\n[1]\n");
  expect_has(problem_of([&] { read_jsonl(list); }), "list.jsonl:2");
}

TEST_F(ReadersTest, CsvErrorsNameFileLineAndCounts) {
  const std::string too_long = problem_of([&] { read_csv(write("a.csv", "a,b\n\"x\ny\",2\n1,2,3\n")); });
  expect_has(too_long, "a.csv:4");
  expect_has(too_long, "3 fields");
  expect_has(too_long, "header has 2");
  expect_has(problem_of([&] { read_csv(write("c.csv", "a,b\n1,\"2\n3,4\n")); }), "c.csv:2");
  expect_has(problem_of([&] { read_csv(write("d.csv", "")); }), "header");
}

TEST_F(ReadersTest, CsvOfManyFormsOfNumbers) {
  const Table table =
      read_csv(write("n.csv", "i,f,big,b,n,s\n 1,1e3,99999999999999999999,True,,x\n-2,.5,1,false,NA,1\n"));
  ASSERT_EQ(table.rows.size(), 2u);
  EXPECT_EQ(table.rows[0]["i"], Json(1));
  EXPECT_EQ(table.rows[0]["f"], Json(1000.0));
  EXPECT_EQ(table.rows[1]["f"], Json(0.5));
  EXPECT_EQ(table.rows[0]["b"], Json(true));
  EXPECT_TRUE(table.rows[0]["n"].is_null());
  EXPECT_EQ(table.rows[1]["s"], Json("1"));
}

std::string bytes_of(const fs::path& file) {
  std::ifstream input(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(input), {}};
}

TEST_F(ReadersTest, CompressedFilesThatAreCutOrDamaged) {
  for (const char* name : {"rows.jsonl.gz", "rows.jsonl.zst", "plain.csv.bz2", "lines.txt.lz4"}) {
    SCOPED_TRACE(name);
    const std::string bytes = bytes_of(kFixtures / name);
    ASSERT_GT(bytes.size(), 30u);
    // Every start of the file, and every byte wrong: an error (or, for a byte, other text), never a crash or half a
    // table.
    for (size_t size = 12; size < bytes.size(); size += 7) {
      expect_has(problem_of([&] { read_table(write(name, bytes.substr(0, size))); }), name);
    }
    for (size_t at = 4; at < bytes.size(); at += 5) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x2a);
      try {
        read_table(write(name, damaged));
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::kBadInput) << error.what();
      }
    }
  }
}

// 100 MiB of zeros in 3 kB, nested as frames: above 256 MiB it is refused.
TEST_F(ReadersTest, ABombIsRefused) {
  // A Zstandard frame of a window of 128 kB and run-length blocks: 3 bytes of header and one byte make 128 KiB.
  std::string frame("\x28\xb5\x2f\xfd\x00\x38", 6);
  constexpr int kBlocks = 4000;
  for (int i = 0; i < kBlocks; ++i) {
    const uint32_t header = (i + 1 == kBlocks ? 1u : 0u) | (1u << 1) | (131072u << 3);
    for (int byte = 0; byte < 3; ++byte) frame += static_cast<char>(header >> (8 * byte) & 255);
    frame += ' ';
  }
  expect_has(problem_of([&] { read_table(write("bomb.jsonl.zst", frame)); }), "decompress to more than");
}

// The file system stores no zeros, so that two gigabytes cost nothing.
TEST_F(ReadersTest, LinesWithoutAnEndAreRefused) {
  for (const char* name : {"long.jsonl", "long.csv", "long.json"}) {
    SCOPED_TRACE(name);
    const fs::path file = write(name, "{\"a\": 1}\n{\"a\": \"");
    fs::resize_file(file, uint64_t{2} << 30);
    const std::string problem = problem_of([&] { read_table(file); });
    expect_has(problem, std::string(name) + ":2");
  }
}

TEST_F(ReadersTest, TextThatIsNotUtf8) {
  for (const auto& [name, text] : {std::pair{"a.jsonl", "{\"a\": 1}\n{\"a\": \"\xff\"}\n"},
                                   std::pair{"a.csv", "a\nx\ny\xc3\n"}, std::pair{"a.txt", "one\n\xed\xa0\x80\n"}}) {
    SCOPED_TRACE(name);
    const std::string problem = problem_of([&] { read_table(write(name, text)); });
    expect_has(problem, name);
    expect_has(problem, std::string(name) == "a.csv" ? ":3" : ":2");
  }
}

TEST_F(ReadersTest, DeepAndWideJson) {
  const std::string deep = "{\"a\": " + std::string(100000, '[') + std::string(100000, ']') + "}\n";
  expect_has(problem_of([&] { read_table(write("deep.jsonl", deep)); }), "deep.jsonl:1");
  std::string wide = "{\"k0\": 0";
  for (int i = 1; i < 300000; ++i) wide += ", \"k" + std::to_string(i) + "\": 0";
  expect_has(problem_of([&] { read_table(write("wide.jsonl", "{}\n" + wide + "}\n")); }), "wide.jsonl:2");
}

TEST_F(ReadersTest, DamagedParquetAndArrowAreBadInput) {
  std::string bytes;
  {
    std::ifstream input(kFixtures / "types.parquet", std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(input), {});
  }
  ASSERT_GT(bytes.size(), 100u);
  expect_has(problem_of([&] { read_parquet(write("empty.parquet", "")); }), "empty.parquet");
  expect_has(problem_of([&] { read_parquet(write("text.parquet", "no parquet at all, but long enough")); }),
             "text.parquet");
  expect_has(problem_of([&] { read_parquet(write("cut.parquet", bytes.substr(0, bytes.size() / 2))); }), "cut.parquet");
  expect_has(problem_of([&] { read_arrow(write("x.arrow", "ARROW1 nothing")); }), "x.arrow");
  // Any byte may be wrong: an error or other values, never a crash.
  for (size_t at = 4; at < bytes.size(); at += 41) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    try {
      read_parquet(write("damaged.parquet", damaged));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadInput);
    }
  }
}

TEST_F(ReadersTest, OtherFilesAreNamedWithTheRemedy) {
  expect_has(problem_of([&] { read_table(write("a.zip", "x")); }), "unpack");
  expect_has(problem_of([&] { read_table(write("a.jsonl", "PK\x03\x04rest")); }), "zip archive");
  expect_has(problem_of([&] {
               read_table(write("a.csv",
                                "\xff\xfe"
                                "a"));
             }),
             "UTF-16");
  expect_has(problem_of([&] { read_table(write("a.xyz", "x")); }), ".jsonl");
  EXPECT_THROW(read_table(folder_ / "missing.jsonl"), Error);
  expect_has(problem_of([&] { read_json(write("o.json", "{\"c\": {\"a\": [1, 2], \"b\": [1]}}"), "c"); }),
             "column 'b'");
  expect_has(problem_of([&] { read_json(write("p.json", "{\"a\": 1}"), "data"); }), "'data'");
}

}  // namespace
}  // namespace evalmpi::data

#include "evalmpi/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "error_code.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"

namespace evalmpi {
namespace {

namespace fs = std::filesystem;

class Folder : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "evalmpi-file-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  void TearDown() override { fs::remove_all(path_); }
  fs::path path_;
};

TEST_F(Folder, atomic_write_replaces_and_leaves_nothing_else) {
  write_file_atomically(path_ / "a", "first");
  write_file_atomically(path_ / "a", "second");
  EXPECT_EQ(read_file(path_ / "a"), "second");
  EXPECT_EQ(std::distance(fs::directory_iterator(path_), fs::directory_iterator()), 1);
  struct stat status {};
  ASSERT_EQ(::stat((path_ / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(Folder, errors_have_the_code_that_scripts_expect) {
  EXPECT_EQ(code_of([&] { read_file(path_ / "none"); }), ExitCode::kMissingInput);
  EXPECT_EQ(code_of([&] { read_file(path_); }), ExitCode::kBadInput);
  EXPECT_EQ(code_of([&] { write_file_atomically(path_ / "no" / "such", "x"); }), ExitCode::kCannotWrite);
  write_file_atomically(path_ / "large", std::string(100, 'x'));
  EXPECT_EQ(code_of([&] { read_file(path_ / "large", 99); }), ExitCode::kBadInput);
  EXPECT_EQ(code_of([&] { read_file(path_ / "large", 100); }), ExitCode::kComplete);
}

TEST_F(Folder, paths_from_files_stay_below_their_root) {
  write_file_atomically(path_ / "inside", "x");
  EXPECT_EQ(safe_path(path_, "inside"), path_ / "inside");
  for (const char* name : {"", "/etc/passwd", "../x", "a/../../x", ".."}) {
    EXPECT_EQ(code_of([&] { safe_path(path_, name); }), ExitCode::kBadInput) << name;
  }
  fs::create_symlink("/etc/passwd", path_ / "link");
  EXPECT_EQ(code_of([&] { safe_path(path_, "link"); }), ExitCode::kBadInput);
  EXPECT_EQ(safe_path(path_, "link", true), path_ / "link");
}

TEST_F(Folder, map_shows_the_bytes_of_the_file) {
  write_file_atomically(path_ / "a", "some bytes");
  MappedFile first(path_ / "a");
  const MappedFile moved(std::move(first));
  moved.forget(moved.bytes());
  moved.forget({});
  EXPECT_EQ(moved.bytes(), "some bytes");
  write_file_atomically(path_ / "empty", "");
  EXPECT_EQ(MappedFile(path_ / "empty").bytes(), "");
}

TEST(ParseJson, names_line_and_column) {
  try {
    parse_json("{\n  \"a\": 1,\n  b\n}", "x.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    EXPECT_NE(std::string(error.what()).find("x.json: not valid JSON at line 3, column 3"), std::string::npos)
        << error.what();
  }
}

TEST(ParseJson, refuses_deep_nesting_and_trailing_text) {
  EXPECT_EQ(code_of([] { parse_json(std::string(100'000, '['), "x"); }), ExitCode::kBadInput);
  EXPECT_EQ(code_of([] { parse_json("1 2", "x"); }), ExitCode::kBadInput);
  EXPECT_EQ(code_of([] { parse_json("\"\xff\"", "x"); }), ExitCode::kBadInput);
}

}  // namespace
}  // namespace evalmpi

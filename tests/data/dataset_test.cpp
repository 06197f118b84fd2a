#include "evalmpi/data/dataset.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>

#include "evalmpi/base/error.h"

namespace evalmpi::data {
namespace {

namespace fs = std::filesystem;

const fs::path kFixtures = EVALMPI_SOURCE_DIR "/tests/fixtures/data";

class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / (std::string("evalmpi_dataset_") + info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    // No dataset of the person who runs the tests is found by accident.
    setenv("HF_HUB_CACHE", (folder_ / "cache").c_str(), 1);
    setenv("HF_DATASETS_CACHE", (folder_ / "prepared").c_str(), 1);
  }
  void TearDown() override {
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_DATASETS_CACHE");
    fs::remove_all(folder_);
  }

  void write(const fs::path& name, const std::string& bytes) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }

  DatasetReference reference(const std::string& path, const std::string& name = "", Json kwargs = Json::object()) {
    return {path, name, std::move(kwargs), folder_};
  }

  fs::path folder_;
};

std::string message_of(ExitCode code, const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

void expect_has(const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), text.npos) << text; }

std::vector<int> values_of(const Split& split) {
  std::vector<int> out;
  for (const Json& row : split.rows) out.push_back(row["x"].get<int>());
  return out;
}

std::string line(int x) { return "{\"x\": " + std::to_string(x) + "}\n"; }

// Layouts of files and the splits that `datasets` finds in them (tools/fixtures/make_data_fixtures.py).
TEST_F(DatasetTest, SplitsAsDatasetsFindsThem) {
  const Json layouts = read_json_file(kFixtures / "expected_layouts.json");
  ASSERT_GE(layouts.size(), 12u);
  int number = 0;
  for (const Json& layout : layouts) {
    SCOPED_TRACE(layout["name"].get<std::string>());
    const std::string dataset = "org/d" + std::to_string(++number);
    for (auto it = layout["files"].begin(); it != layout["files"].end(); ++it)
      write(dataset + "/" + it.key(), it->get<std::string>());
    const DataRoots roots{{folder_}};
    DatasetReference wanted = reference(dataset, layout["config"].get<std::string>());
    wanted.base_dir = fs::path();
    EXPECT_EQ(Json(split_names(wanted, roots)).dump(), layout["split_names"].dump());
    for (auto it = layout["splits"].begin(); it != layout["splits"].end(); ++it) {
      const Split split = load_split(wanted, it.key(), roots);
      EXPECT_EQ(Json(split.rows).dump(), it->dump()) << it.key();
    }
  }
}

// save_to_disk, and the cache of prepared datasets that the library reads itself when it is offline.
TEST_F(DatasetTest, WhatDatasetsSavedAndPrepared) {
  setenv("HF_DATASETS_CACHE", (kFixtures / "prepared").c_str(), 1);
  const Json expected = read_json_file(kFixtures / "expected_saved.json");
  ASSERT_EQ(expected.size(), 3u);
  for (const Json& entry : expected) {
    SCOPED_TRACE(entry["path"].get<std::string>());
    DatasetReference wanted = reference(entry["path"].get<std::string>(), entry["name"].get<std::string>());
    wanted.base_dir = kFixtures;
    std::vector<std::string> names;
    for (auto it = entry["splits"].begin(); it != entry["splits"].end(); ++it) {
      names.push_back(it.key());
      EXPECT_EQ(Json(load_split(wanted, it.key(), {}).rows).dump(), it->dump()) << it.key();
    }
    EXPECT_EQ(split_names(wanted, {}), names);
  }
  DatasetReference other = reference("made/MyThings2", "other");
  expect_has(message_of(ExitCode::kMissingInput, [&] { load_split(other, "train", {}); }), "plain_text");
  other.name = "";  // the only one
  EXPECT_EQ(load_split(other, "train", {}).rows.size(), 3u);
  unsetenv("HF_DATASETS_CACHE");
}

// A repository of the hub that holds only a script, with the hub's Parquet copy beside it.
TEST_F(DatasetTest, ParquetCopyOfAScript) {
  const fs::path repository = "cache/datasets--org--made";
  write(repository / "refs/main", "aaaa");
  write(repository / "snapshots/aaaa/made.py", "raise SystemExit\n");
  write(repository / "snapshots/aaaa/train.jsonl", line(1));
  expect_has(message_of(ExitCode::kMissingInput, [&] { load_split(reference("org/made"), "train", {}); }),
             "evalmpi fetch --dataset org/made");
  write(repository / "refs/refs/convert/parquet", "bbbb");
  for (const char* split : {"train", "auxiliary", "partial-test"}) {
    fs::create_directories(folder_ / repository / "snapshots/bbbb/Easy" / split);
    fs::copy_file(kFixtures / "hub/made/choices/Easy/train-00000-of-00001.parquet",
                  folder_ / repository / "snapshots/bbbb/Easy" / split / "0000.parquet");
  }
  EXPECT_EQ(split_names(reference("org/made", "Easy"), {}), (std::vector<std::string>{"train", "test", "auxiliary"}));
  EXPECT_EQ(load_split(reference("org/made", "Easy"), "auxiliary", {}).rows.size(), 1u);
  expect_has(message_of(ExitCode::kMissingInput, [&] { load_split(reference("org/made", "Hard"), "train", {}); }),
             "Easy");
}

TEST_F(DatasetTest, ParquetOfTheHubWithNestedColumns) {
  const DataRoots roots{{kFixtures / "hub"}};
  const Split split = load_split(reference("made/choices", "Easy"), "test", roots);
  EXPECT_EQ(split.columns, (std::vector<std::string>{"id", "question", "choices", "answerKey", "label"}));
  ASSERT_EQ(split.rows.size(), 3u);
  EXPECT_EQ(
      split.rows[0].dump(),
      R"({"id":"e0","question":"Which is hot?","choices":{"text":["ice","fire"],"label":["A","B"]},"answerKey":"B","label":1})");
  expect_has(split.source, "Easy/test-00000-of-00001.parquet");
  EXPECT_EQ(split_names(reference("made/choices", "Easy"), roots), (std::vector<std::string>{"train", "test"}));
}

TEST_F(DatasetTest, FilesOfAFormat) {
  write("a.jsonl", line(1));
  write("b.jsonl", line(2));
  write("sub/c.jsonl", line(3));
  const DataRoots roots;
  EXPECT_EQ(values_of(load_split(reference("json", "", {{"data_files", "a.jsonl"}}), "train", roots)),
            std::vector<int>{1});
  EXPECT_EQ(values_of(load_split(reference("json", "", {{"data_files", {"b.jsonl", "a.jsonl"}}}), "train", roots)),
            (std::vector<int>{2, 1}));
  EXPECT_EQ(values_of(load_split(reference("json", "", {{"data_files", {{"test", "*.jsonl"}, {"dev", "**/c.jsonl"}}}}),
                                 "test", roots)),
            (std::vector<int>{1, 2}));
  EXPECT_EQ(
      values_of(load_split(reference("json", "", {{"data_files", {{"test", (folder_ / "sub/c.jsonl").string()}}}}),
                           "test", roots)),
      std::vector<int>{3});
  EXPECT_EQ(values_of(load_split(reference("json", "", {{"data_dir", "sub"}}), "train", roots)), std::vector<int>{3});
  expect_has(message_of(ExitCode::kMissingInput,
                        [&] {
                          load_split(reference("json", "", {{"data_files", "no.jsonl"}}), "train", roots);
                        }),
             "no.jsonl");
}

TEST_F(DatasetTest, LocalFoldersAndHubUrls) {
  write("mine/train.jsonl", line(1));
  write("root/org/set/data/test.jsonl", line(7));
  EXPECT_EQ(values_of(load_split(reference("mine"), "train", {})), std::vector<int>{1});
  EXPECT_EQ(values_of(load_split(reference((folder_ / "mine").string()), "train", {})), std::vector<int>{1});
  const DataRoots roots{{folder_ / "root"}};
  const Json url = {{"data_files", {{"test", "hf://datasets/org/set/data/test.jsonl"}}}};
  EXPECT_EQ(values_of(load_split(reference("json", "", url), "test", roots)), std::vector<int>{7});
}

TEST_F(DatasetTest, HubCache) {
  write("cache/datasets--org--set/refs/main", "abc123\n");
  write("cache/datasets--org--set/blobs/f00d", line(4));
  fs::create_directories(folder_ / "cache/datasets--org--set/snapshots/abc123");
  fs::create_symlink("../../blobs/f00d", folder_ / "cache/datasets--org--set/snapshots/abc123/train.jsonl");
  write("cache/datasets--org--set/snapshots/old/train.jsonl", line(5));
  EXPECT_EQ(values_of(load_split(reference("org/set"), "train", {})), std::vector<int>{4});
  EXPECT_EQ(values_of(load_split(reference("org/set", "", {{"revision", "old"}}), "train", {})), std::vector<int>{5});
}

TEST_F(DatasetTest, DeclaredTypesAreApplied) {
  write("org/set/README.md",
        "---\ndataset_info:\n  features:\n  - name: y\n    dtype: string\n  - name: x\n    dtype:\n      class_label:\n"
        "        names:\n          '0': neg\n          '1': pos\n---\n");
  write("org/set/train.csv", "x,y\npos,1\nneg,2\n");
  const Split split = load_split(reference("org/set"), "train", {{folder_}});
  EXPECT_EQ(Json(split.rows).dump(), R"([{"y":"1","x":1},{"y":"2","x":0}])");
}

TEST_F(DatasetTest, MissingThingsAreNamedWithTheRemedy) {
  const DataRoots roots{{folder_ / "roots"}};
  const std::string dataset =
      message_of(ExitCode::kMissingInput, [&] { load_split(reference("org/none"), "train", roots); });
  expect_has(dataset, (folder_ / "roots/org/none").string());
  expect_has(dataset, (folder_ / "cache").string());
  expect_has(dataset, "--data-root");
  expect_has(dataset, "evalmpi fetch --dataset org/none");
  const DataRoots hub{{kFixtures / "hub"}};
  const std::string split =
      message_of(ExitCode::kMissingInput, [&] { load_split(reference("made/choices", "Easy"), "dev", hub); });
  expect_has(split, "train, test");
  const std::string config =
      message_of(ExitCode::kMissingInput, [&] { load_split(reference("made/choices", "Hard"), "test", hub); });
  expect_has(config, "Easy");
}

TEST_F(DatasetTest, HostileDescriptionsEndInAnError) {
  write("secret.jsonl", line(1));
  write("org/a/README.md", "---\nconfigs:\n- config_name: default\n  data_files: ../../secret.jsonl\n---\n");
  write("org/b/README.md", "---\nconfigs: [[[[\n---\n");
  write("org/c/README.md", "---\nconfigs:\n- config_name: default\n  data_dir: ../..\n---\n");
  write("org/d/README.md",
        "---\na: &a [1, 1]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, "
        "*b]\n"
        "d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n"
        "f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\ng: [*f, *f, *f, *f, *f, *f, *f, *f, *f, *f]\n---\n");
  for (const char* name : {"org/a", "org/b", "org/c", "org/d"}) {
    SCOPED_TRACE(name);
    message_of(ExitCode::kBadInput, [&] { load_split(reference(name), "train", {{folder_}}); });
  }
  message_of(ExitCode::kBadInput, [&] { load_split(reference("json", "", {{"data_files", 3}}), "train", {}); });
  message_of(ExitCode::kBadInput, [&] { load_split(reference("json", "", {{"data_fiels", "x"}}), "train", {}); });
  message_of(ExitCode::kMissingInput, [&] { load_split(reference("../../etc"), "train", {{folder_}}); });
}

}  // namespace
}  // namespace evalmpi::data

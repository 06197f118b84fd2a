// What names stand for, and what is said about names and files that stand for nothing.

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "evalmpi/base/error.h"
#include "evalmpi/task/task_index.h"

namespace evalmpi::task {
namespace {

namespace fs = std::filesystem;

const fs::path kBuiltin = EVALMPI_SOURCE_DIR "/configs/tasks";

class Folder {
 public:
  Folder()
      : path_(fs::temp_directory_path() / ("evalmpi-index-" + std::to_string(getpid()) + "-" + std::to_string(n_++))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  fs::path write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return path_ / name;
  }
  const fs::path& path() const { return path_; }

 private:
  static inline int n_ = 0;
  fs::path path_;
};

std::string task_text(const std::string& name, const std::string& more = "") {
  return "task: " + name + "\ndataset_path: a/b\ntest_split: test\ndoc_to_text: q\ndoc_to_target: a\n" + more;
}

std::vector<std::string> names(const Selection& selection) {
  std::vector<std::string> list;
  for (const TaskConfig& task : selection.tasks) list.push_back(task.name);
  return list;
}

template <typename Action>
std::string failure(Action action, ExitCode code = ExitCode::kBadInput) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing failed";
  return "";
}

TEST(BuiltinTasks, AllAreReadable) {
  const TaskIndex index = TaskIndex::scan({kBuiltin});
  EXPECT_TRUE(index.skipped().empty()) << index.skipped().front();
  for (const auto& [name, entry] : index.entries()) EXPECT_FALSE(index.select({name}).tasks.empty()) << name;
}

TEST(BuiltinTasks, MmluIsFourGroupsOf57Subjects) {
  const Selection selection = TaskIndex::scan({kBuiltin}).select({"mmlu"}, {5, Json::object()});
  ASSERT_EQ(selection.groups.size(), 5u);
  EXPECT_EQ(selection.tasks.size(), 57u);
  EXPECT_EQ(selection.groups[0].name, "mmlu");
  EXPECT_EQ(selection.groups[0].children,
            (std::vector<std::string>{"mmlu_stem", "mmlu_other", "mmlu_social_sciences", "mmlu_humanities"}));
  EXPECT_EQ(selection.groups[0].tasks.size(), 57u);
  EXPECT_EQ(selection.groups[1].tasks.size(), 19u);
  EXPECT_EQ(selection.groups[1].alias, "stem");
  EXPECT_EQ(selection.groups[0].version, "2");
  for (const TaskConfig& task : selection.tasks) EXPECT_EQ(task.num_fewshot, 5) << task.name;
}

TEST(BuiltinTasks, HellaswagComesWithoutPython) {
  EXPECT_EQ(TaskIndex::scan({kBuiltin}).select({"hellaswag"}).tasks[0].dump["process_docs"],
            "!function hellaswag/utils.process_docs");
}

TEST(Index, CommaListsGlobsTagsAndFiles) {
  const TaskIndex index = TaskIndex::scan({kBuiltin});
  EXPECT_EQ(names(index.select({"gsm8k,arc_easy"})), (std::vector<std::string>{"gsm8k", "arc_easy"}));
  EXPECT_EQ(names(index.select({"arc_*"})), (std::vector<std::string>{"arc_challenge", "arc_easy"}));
  EXPECT_EQ(names(index.select({"ai2_arc"})), (std::vector<std::string>{"arc_challenge", "arc_easy"}));
  EXPECT_EQ(names(index.select({"arc_easy", "arc_easy"})).size(), 1u);
  EXPECT_EQ(names(index.select({(kBuiltin / "gsm8k/gsm8k.yaml").string()})), (std::vector<std::string>{"gsm8k"}));
  EXPECT_EQ(names(index.select({(kBuiltin / "arc").string()})).size(), 2u);
  EXPECT_EQ(names(index.select({(kBuiltin / "arc/*.yaml").string()})).size(), 2u);
}

TEST(Index, UnknownNamesComeWithTheNearest) {
  const TaskIndex index = TaskIndex::scan({kBuiltin});
  const std::string message = failure([&] { index.select({"hellaswga"}); });
  EXPECT_NE(message.find("hellaswga"), std::string::npos);
  EXPECT_NE(message.find("nearest: hellaswag"), std::string::npos) << message;
  EXPECT_EQ(index.nearest("gsm8").front(), "gsm8k");
  failure([&] { index.select({" , "}); }, ExitCode::kUsage);
  failure([&] { index.select({"/nowhere/at/all.yaml"}); }, ExitCode::kMissingInput);
  failure([&] { TaskIndex::scan({"/nowhere/at/all"}); }, ExitCode::kMissingInput);
}

TEST(Index, ATaskOfTwoItemsIsRefused) {
  const TaskIndex index = TaskIndex::scan({kBuiltin});
  EXPECT_NE(failure([&] { index.select({"mmlu_stem", "mmlu_anatomy"}); }).find("twice"), std::string::npos);
}

TEST(Index, LaterRootsReplaceEarlierAndTheFirstFileOfARootHolds) {
  Folder first;
  Folder second;
  first.write("a/one.yaml", task_text("one", "task_alias: first\n"));
  first.write("b/one.yaml", task_text("one", "task_alias: later\n"));
  EXPECT_EQ(TaskIndex::scan({first.path()}).select({"one"}).tasks[0].alias, "first");
  EXPECT_EQ(TaskIndex::scan({first.path()}).skipped().size(), 1u);
  second.write("one.yaml", task_text("one", "task_alias: second\n"));
  EXPECT_EQ(TaskIndex::scan({first.path(), second.path()}).select({"one"}).tasks[0].alias, "second");
}

TEST(Index, IncludesMergeAndCyclesAreRefused) {
  Folder folder;
  folder.write("base", task_text("base", "num_fewshot: 2\ntag: [p, q]\n"));
  folder.write("low", "num_fewshot: 3\ndescription: low\n");
  folder.write("deep/top.yaml", "include: [../base, ../low]\ntask: top\n");
  folder.write("loop.yaml", "include: loop.yaml\ntask: loop\n");
  const TaskIndex index = TaskIndex::scan({folder.path()});
  const TaskConfig task = index.select({"q"}).tasks[0];
  EXPECT_EQ(task.name, "top");
  EXPECT_EQ(task.num_fewshot, 3);
  EXPECT_EQ(task.description, "low");
  EXPECT_FALSE(index.entries().contains("loop"));
  failure([&] { index.select({(folder.path() / "loop.yaml").string()}); });
}

TEST(Index, GroupsPassSettingsOnAndMembersHaveTheirOwn) {
  Folder folder;
  folder.write("a.yaml", task_text("a", "num_fewshot: 1\n"));
  folder.write("b.yaml", task_text("b"));
  folder.write(
      "g.yaml",
      "group: g\ntask:\n  - a\n  - {task: b, num_fewshot: 7}\n"
      "  - {group: h, task: [{task: c, dataset_path: x/y, test_split: test, doc_to_text: q, doc_to_target: a}]}\n"
      "num_fewshot: 4\n");
  const Selection selection = TaskIndex::scan({folder.path()}).select({"g"});
  EXPECT_EQ(names(selection), (std::vector<std::string>{"a", "b", "g::h::c"}));
  EXPECT_EQ(selection.tasks[0].num_fewshot, 4);
  EXPECT_EQ(selection.tasks[1].num_fewshot, 7);
  EXPECT_EQ(selection.groups[0].children, (std::vector<std::string>{"a", "b", "g::h"}));
  EXPECT_EQ(selection.groups[0].tasks.size(), 3u);
}

TEST(Index, GroupsThatHoldEachOtherAreRefused) {
  Folder folder;
  folder.write("g.yaml", "group: g\ntask: [h]\n");
  folder.write("h.yaml", "group: h\ntask: [g]\n");
  failure([&] { TaskIndex::scan({folder.path()}).select({"g"}); });
}

TEST(Index, ShotsOfTheCommandLineLeaveAnExplicitZero) {
  Folder folder;
  folder.write("zero.yaml", task_text("zero", "num_fewshot: 0\n"));
  folder.write("two.yaml", task_text("two", "num_fewshot: 2\n"));
  folder.write("unset.yaml", task_text("unset"));
  const TaskIndex index = TaskIndex::scan({folder.path()});
  const Selection selection = index.select({"zero,two,unset"}, {5, Json::object()});
  EXPECT_EQ(selection.tasks[0].num_fewshot, 0);
  EXPECT_EQ(selection.tasks[1].num_fewshot, 5);
  EXPECT_EQ(selection.tasks[2].num_fewshot, 5);
  EXPECT_EQ(index.select({"unset"}).tasks[0].num_fewshot, 0);
}

TEST(Config, WhatCannotRunIsNamed) {
  Folder folder;
  folder.write("f/fun.yaml", task_text("fun", "process_docs: !function tools.clean\n"));
  folder.write("bad.yaml", task_text("bad", "metric_list: [\n"));
  folder.write("odd.yaml", task_text("odd", "doc_to_txt: q\n"));
  folder.write("bleu.yaml", task_text("blue", "metric_list:\n  - metric: no_such_metric\n"));
  folder.write("py.yaml", "task: py\nclass: !function task.Task\n");
  const TaskIndex index = TaskIndex::scan({folder.path()});
  const std::string function = failure([&] { index.select({"fun"}); });
  for (const char* part : {"fun.yaml", "task fun", "process_docs", "f/tools.clean"}) {
    EXPECT_NE(function.find(part), std::string::npos) << function;
  }
  EXPECT_NE(failure([&] { index.select({"bad"}); }).find("bad.yaml:"), std::string::npos);
  EXPECT_NE(failure([&] { index.select({"odd"}); }).find("doc_to_txt"), std::string::npos);
  EXPECT_NE(failure([&] { index.select({"blue"}); }).find("no_such_metric"), std::string::npos);
  EXPECT_NE(failure([&] { index.select({"py"}); }).find("Python"), std::string::npos);
}

TEST(Config, WhatIsIgnoredIsSaid) {
  Folder folder;
  folder.write("a.yaml", task_text("a", "should_decontaminate: true\n"));
  folder.write("b.yaml", task_text("b", "should_decontaminate: false\n"));
  const TaskIndex index = TaskIndex::scan({folder.path()});
  EXPECT_TRUE(index.select({"b"}).notes.empty());
  ASSERT_EQ(index.select({"a,b"}).notes.size(), 1U);
  EXPECT_NE(index.select({"a,b"}).notes[0].find("should_decontaminate"), std::string::npos);
}

TEST(Config, WhatTheHarnessLeavesOpenIsSaid) {
  Folder folder;
  std::filesystem::create_directories(folder.path() / "gpqa" / "zeroshot");
  for (const char* name : {"a", "b"}) {
    folder.write(std::string("gpqa/zeroshot/") + name + ".yaml",
                 task_text(name, "process_docs: !function utils.process_docs\n"));
  }
  const std::vector<std::string> notes = TaskIndex::scan({folder.path()}).select({"a,b"}).notes;
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_EQ(notes[0].find("process_docs (a and 1 more tasks): the order of the choices"), 0U) << notes[0];
}

TEST(Config, GenerationSettings) {
  Folder folder;
  folder.write("d.yaml", task_text("d"));
  folder.write("o.yaml", task_text("o", "generation_kwargs: {temperature: 1, max_gen_toks: 9}\n"));
  const TaskIndex index = TaskIndex::scan({folder.path()});
  EXPECT_EQ(index.select({"d"}).tasks[0].generation_kwargs.dump(),
            R"({"temperature":0.0,"do_sample":false,"max_gen_toks":256,"until":["\n\n"]})");
  EXPECT_EQ(index.select({"o"}, {{}, {{"max_gen_toks", 3}}}).tasks[0].generation_kwargs.dump(),
            R"({"temperature":1.0,"max_gen_toks":3,"until":["\n\n"]})");
}

}  // namespace
}  // namespace evalmpi::task

// What is said of task files that run, need functions, or cannot run.

#include "evalmpi/task/survey.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "evalmpi/base/error.h"

namespace evalmpi::task {
namespace {

namespace fs = std::filesystem;

class SurveyOfFolder : public testing::Test {
 protected:
  SurveyOfFolder() : folder_(fs::temp_directory_path() / ("evalmpi-survey-" + std::to_string(getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~SurveyOfFolder() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }

  std::map<std::string, TaskSupport> by_name() const {
    std::map<std::string, TaskSupport> found;
    for (const TaskSupport& task : survey(TaskIndex::scan({folder_}))) found[task.name] = task;
    return found;
  }

  fs::path folder_;
};

constexpr const char* kBody =
    "dataset_path: a/b\ntest_split: test\ndoc_to_text: '{{q}}'\ndoc_to_target: a\noutput_type: generate_until\n";

TEST_F(SurveyOfFolder, EveryTaskHasItsClass) {
  write("ready.yaml", std::string("task: ready\n") + kBody);
  write("functions.yaml", std::string("task: functions\nprocess_docs: !function tools.clean\n"
                                      "metric_list:\n- metric: !function tools.score\n  aggregation: mean\n") +
                              kBody);
  write("hellaswag/h.yaml", std::string("task: twin\nprocess_docs: !function utils.process_docs\n") + kBody);
  write("template.yaml", std::string("task: template\ndescription: '{% nonsense %}'\n") + kBody);
  write("metric.yaml", std::string("task: metric\nmetric_list: [{metric: made_up}]\n") + kBody);
  write("pattern.yaml",
        std::string("task: pattern\nfilter_list: [{name: x, filter: [{function: regex, regex_pattern: '('}]}]\n") +
            kBody);
  write("python.yaml", "task: python\nclass: !function task.Task\n");
  write("broken.yaml", "task: [1, 2\n");
  const auto found = by_name();
  EXPECT_EQ(found.at("ready").support, Support::kReady);
  EXPECT_EQ(found.at("ready").output_type, "generate_until");
  EXPECT_EQ(found.at("twin").support, Support::kReady);
  EXPECT_EQ(found.at("functions").support, Support::kNeedsFunctions);
  const std::string folder = folder_.filename().string();
  EXPECT_EQ(found.at("functions").functions,
            (std::vector<std::string>{folder + "/tools.clean", folder + "/tools.score"}));
  for (const auto& [name, part] :
       {std::pair{"template", "nonsense"}, {"metric", "made_up"}, {"pattern", "regex"}, {"python", "Python"}}) {
    EXPECT_EQ(found.at(name).support, Support::kUnsupported) << name;
    EXPECT_NE(found.at(name).reason.find(part), std::string::npos) << found.at(name).reason;
  }
  EXPECT_EQ(found.size(), 7U);
}

TEST_F(SurveyOfFolder, GroupsCountTheirTasksAndBringTheirOwn) {
  write("ready.yaml", std::string("task: ready\n") + kBody);
  write("common", std::string("num_fewshot: 2\n") + kBody);
  write("needs.yaml", std::string("task: needs\nprocess_docs: !function tools.clean\n") + kBody);
  write("group.yaml",
        "group: all\ntask:\n- ready\n- needs\n- group: inner\n  task:\n  - task: own\n    include: common\n"
        "    doc_to_target: '{{b}}'\n");
  write("unknown.yaml", "group: unknown\ntask: [no_such_task]\n");
  write("metric.yaml",
        "group: metric\ntask: [ready]\naggregate_metric_list: [{metric: acc, aggregation: !function m.mean}]\n");
  const auto found = by_name();
  EXPECT_EQ(found.at("all").support, Support::kNeedsFunctions);
  EXPECT_EQ(found.at("all").n_tasks, 3);
  EXPECT_EQ(found.at("all").n_ready, 2);
  EXPECT_EQ(found.at("all::inner::own").support, Support::kReady);
  EXPECT_EQ(found.at("unknown").support, Support::kUnsupported);
  EXPECT_EQ(found.at("metric").support, Support::kNeedsFunctions);
}

TEST_F(SurveyOfFolder, ReportCounts) {
  write("one.yaml", std::string("task: one\nprocess_docs: !function tools.clean\n") + kBody);
  write("two.yaml", std::string("task: two\nprocess_docs: !function tools.clean\n") + kBody);
  write("three.yaml", std::string("task: three\nclass: x\n") + kBody);
  write("base.yaml", kBody);
  const TaskIndex index = TaskIndex::scan({folder_});
  const Json report = survey_report(index, survey(index));
  EXPECT_EQ(report["totals"]["tasks"], (Json{{"ready", 0}, {"needs functions", 2}, {"unsupported", 1}}));
  EXPECT_EQ(report["missing_functions"][0]["tasks"], 2);
  EXPECT_EQ(report["skipped"].size(), 1U);
  EXPECT_EQ(report["reasons"].size(), 1U);
}

TEST_F(SurveyOfFolder, OneFile) {
  write("one.yaml", std::string("task: one\n") + kBody);
  write("bad.yaml", "task: [1\n");
  const TaskIndex index = TaskIndex::scan({folder_});
  EXPECT_EQ(examine_file(index, folder_ / "one.yaml").at(0).support, Support::kReady);
  const TaskSupport bad = examine_file(index, folder_ / "bad.yaml").at(0);
  EXPECT_EQ(bad.support, Support::kUnsupported);
  EXPECT_NE(bad.reason.find("bad.yaml:"), std::string::npos);
}

}  // namespace
}  // namespace evalmpi::task

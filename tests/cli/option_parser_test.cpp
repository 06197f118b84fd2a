#include "option_parser.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "evalmpi/base/error.h"

namespace evalmpi::cli {
namespace {

struct Options {
  std::string model;
  std::vector<std::string> tasks;
  int tp = 1;
  bool samples = true;
  std::string output;
  std::string chat;
  std::vector<Field> fields() {
    std::vector<Field> all = {path_field("model", "DIR", model, "A model.", Affects::kNumbers),
                              list_field("tasks", "A,B", tasks, "Tasks.", Affects::kNumbers),
                              integer_field("tp", "N", tp, 1, "Places.", Affects::kLayout),
                              switch_field("log-samples", samples, "Samples.", Affects::kOutput),
                              path_field("output", "DIR", output, "Output.", Affects::kOutput),
                              text_field("chat", "NAME", chat, "Chat.", Affects::kNumbers)};
    all[1].letter = 't';
    all[1].takes_more = true;
    all[1].takes_mapping = true;
    all[4].letter = 'o';
    all[5].value_if_bare = "default";
    return all;
  }
};

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
  return "no error";
}

class JobFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "evalmpi-cli-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path write(const std::string& text) {
    std::ofstream(folder_ / "job.yaml") << text;
    return folder_ / "job.yaml";
  }
  std::filesystem::path folder_;
};

TEST(CommandLine, reads_values_switches_and_positionals) {
  Options options;
  std::vector<Field> fields = options.fields();
  const CommandLine line = parse_command_line(
      {"job.yaml", "--tp=3", "--tasks", "a,b", "--tasks", "c", "--no-log_samples", "-o", "out"}, fields);
  EXPECT_EQ(line.positionals, std::vector<std::string>{"job.yaml"});
  apply({}, line.values, fields);
  EXPECT_EQ(options.tp, 3);
  EXPECT_EQ(options.tasks, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_FALSE(options.samples);
  EXPECT_EQ(options.output, "out");
}

TEST(CommandLine, takes_several_values_or_none_where_the_option_says_so) {
  for (const auto& [arguments, tasks, chat] :
       std::vector<std::tuple<std::vector<std::string>, std::vector<std::string>, std::string>>{
           {{"-t", "a", "b,c", "--chat", "--tp", "2"}, {"a", "b", "c"}, "default"},
           {{"--chat", "named", "--tasks=a", "b", "--tp=2"}, {"a", "b"}, "named"},
           {{"--tp", "2", "--chat=x", "--tasks", "a", "--tasks", "b"}, {"a", "b"}, "x"}}) {
    Options options;
    std::vector<Field> fields = options.fields();
    const CommandLine line = parse_command_line(arguments, fields);
    EXPECT_TRUE(line.positionals.empty());
    apply({}, line.values, fields);
    EXPECT_EQ(options.tasks, tasks);
    EXPECT_EQ(options.chat, chat);
    EXPECT_EQ(options.tp, 2);
  }
  Options options;
  const std::vector<Field> fields = options.fields();
  EXPECT_NE(message_of([&] { parse_command_line({"--tasks", "--tp", "2"}, fields); }).find("tasks"), std::string::npos);
}

TEST(CommandLine, a_slip_is_answered_with_the_nearest_option) {
  Options options;
  const std::vector<Field> fields = options.fields();
  EXPECT_NE(message_of([&] {
              parse_command_line({"--taks", "a"}, fields);
            }).find("did you mean --tasks?"),
            std::string::npos);
  EXPECT_NE(message_of([&] { parse_command_line({"--tp"}, fields); }).find("tp"), std::string::npos);
  std::vector<Field> settable = options.fields();
  EXPECT_NE(message_of([&] { apply({}, {{"tp", {"1", "2"}}}, settable); }).find("2 times"), std::string::npos);
}

TEST_F(JobFile, gives_what_the_command_line_does_not) {
  Options options;
  std::vector<Field> fields = options.fields();
  const Values job = read_job_file(write("tp: 2\ntasks: [a, b]\nlog_samples: false\nmodel: ../m\n"), fields);
  apply(job, {{"tp", {"5"}}}, fields);
  EXPECT_EQ(options.tp, 5);
  EXPECT_EQ(options.tasks, (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(options.samples);
  EXPECT_EQ(options.model, (folder_ / "../m").lexically_normal().string());
}

TEST_F(JobFile, may_give_a_mapping_where_the_option_says_so) {
  Options options;
  const Values job = read_job_file(write("tasks: {b: 0.5, a: [x, yes]}\n"), options.fields());
  EXPECT_EQ(job.at("tasks"), std::vector<std::string>{R"({"b":0.5,"a":["x",true]})"});
}

TEST_F(JobFile, errors_name_file_and_line) {
  Options options;
  const std::vector<Field> fields = options.fields();
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"tp: 1\nmodle: x\n", "job.yaml:2: unknown option modle; did you mean model?"},
           {"tp: 1\ntp: 2\n", "job.yaml:2: tp stands twice"},
           {"- x\n", "job.yaml: a job file is a mapping"},
           {"tp: {a: 1}\n", "job.yaml:1: tp: expected a value"},
           {"tp: [\n", "job.yaml:"}}) {
    const std::filesystem::path file = write(text);
    EXPECT_NE(message_of([&] { read_job_file(file, fields); }).find(words), std::string::npos) << text;
  }
}

TEST(Describe, shows_every_option_with_its_help) {
  Options options;
  const std::string text = describe(options.fields());
  for (const char* words : {"--model DIR", "--tasks A,B", "-o, --output DIR", "Places."}) {
    EXPECT_NE(text.find(words), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace evalmpi::cli

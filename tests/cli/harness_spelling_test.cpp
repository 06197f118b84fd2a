#include "harness_spelling.h"

#include <gtest/gtest.h>

#include <functional>

#include "evalmpi/base/error.h"
#include "evalmpi/eval/options.h"

namespace evalmpi::cli {
namespace {

struct Said {
  eval::EvalOptions options;
  std::vector<std::string> positionals, notes;
};

Said say(const std::vector<std::string>& arguments) {
  Said said;
  std::vector<Field> fields = eval::fields(said.options);
  std::vector<Field> accepted = fields;
  for (Field& field : harness_fields()) accepted.push_back(std::move(field));
  CommandLine line = parse_command_line(arguments, accepted);
  said.positionals = line.positionals;
  say_in_own_words(line.values, said.positionals, said.notes);
  apply({}, line.values, fields);
  return said;
}

std::string refusal(const std::vector<std::string>& arguments) {
  try {
    say(arguments);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
  return "no error";
}

TEST(HarnessSpelling, a_line_of_lm_eval_says_the_same_here) {
  const Said said = say({"--model",
                         "hf",
                         "--model_args",
                         "pretrained=org/name,dtype=float32,peft=a/b,trust_remote_code=True",
                         "--tasks",
                         "mmlu",
                         "arc_easy,hellaswag",
                         "--num_fewshot",
                         "5",
                         "--batch_size",
                         "auto:4",
                         "--limit",
                         "10",
                         "--gen_kwargs",
                         "temperature=0.5",
                         "until=[\"a,b\",'c']",
                         "--output_path",
                         "out/results.json",
                         "--log_samples",
                         "--seed",
                         "1,2,3,4",
                         "--use_cache",
                         "db",
                         "--cache_requests",
                         "--include_path",
                         "more"});
  EXPECT_EQ(said.options.model, "org/name");
  EXPECT_EQ(said.options.adapter, "a/b");
  EXPECT_EQ(said.options.dtype, "float32");
  EXPECT_EQ(said.options.tasks, (std::vector<std::string>{"mmlu", "arc_easy", "hellaswag"}));
  EXPECT_EQ(said.options.num_fewshot, 5);
  EXPECT_EQ(said.options.batch_size, "auto:4");
  EXPECT_EQ(said.options.output, "out/results");
  EXPECT_EQ(said.options.gen_kwargs, R"({"temperature":0.5,"until":["a,b","c"]})");
  EXPECT_EQ(said.options.include_paths, std::vector<std::string>{"more"});
  EXPECT_TRUE(said.positionals.empty());
  ASSERT_EQ(said.notes.size(), 3u);
  EXPECT_NE(said.notes[0].find("--use-cache"), std::string::npos);
  EXPECT_NE(said.notes[2].find("trust_remote_code"), std::string::npos);
}

TEST(HarnessSpelling, short_options_and_json_arguments) {
  const Said said = say({"-M", "vllm", "-a", R"({"pretrained": "m", "tensor_parallel_size": 3, "add_bos_token": true})",
                         "-t", "a", "-f", "2", "-b", "8", "-o", "out", "-C", "job.yaml", "-s", "-L", "0.5"});
  EXPECT_EQ(said.options.model, "m");
  EXPECT_EQ(said.options.tp, 3);
  EXPECT_EQ(said.options.add_bos_token, true);
  EXPECT_EQ(said.options.num_fewshot, 2);
  EXPECT_EQ(said.options.limit, 0.5);
  EXPECT_EQ(said.positionals, std::vector<std::string>{"job.yaml"});
}

TEST(HarnessSpelling, a_model_is_also_a_folder_or_an_id) {
  EXPECT_EQ(say({"--model", "org/name", "--tasks", "a"}).options.model, "org/name");
  EXPECT_EQ(say({"--model_args", "pretrained=x"}).options.model, "x");
}

TEST(HarnessSpelling, what_would_change_numbers_is_refused) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--model", "hf"}, "which one?"},
      {{"--model", "openai-completions"}, "runs models itself"},
      {{"--model_args", "pretrained=x,load_in_4bit=True"}, "quantised"},
      {{"--model_args", "pretrained=x,pretraind=y"}, "did you mean pretrained?"},
      {{"--model_args", "pretrained"}, "not key=value"},
      {{"--model_args", "{'a': 1}"}, "double quotes"},
      {{"--model", "x", "--model_args", "pretrained=y"}, "leave one out"},
      {{"--dtype", "auto", "--model_args", "pretrained=y,dtype=float32"}, "leave one out"},
      {{"--output", "a", "--output_path", "b"}, "leave one out"},
  };
  for (const auto& [arguments, words] : cases)
    EXPECT_NE(refusal(arguments).find(words), std::string::npos) << refusal(arguments);
  EXPECT_EQ(say({"--model_args", "pretrained=x,load_in_4bit=False,parallelize=False"}).notes.size(), 0u);
}

}  // namespace
}  // namespace evalmpi::cli

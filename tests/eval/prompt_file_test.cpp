#include "prompt_file.h"

#include <gtest/gtest.h>

#include "evalmpi/base/error.h"

namespace evalmpi::eval {
namespace {

PromptFile parse(const std::string& text, FileJob job = FileJob::kGenerate,
                 std::optional<double> limit = std::nullopt) {
  return parse_prompt_file(text, false, "in.jsonl", job, limit);
}

FileLine only_line(const std::string& text, FileJob job = FileJob::kGenerate) {
  PromptFile file = parse(text, job);
  EXPECT_EQ(file.lines.size(), 1u);
  return std::move(file.lines.front());
}

std::string failure(const std::string& text, FileJob job = FileJob::kGenerate) {
  try {
    parse(text, job);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    return error.what();
  }
  ADD_FAILURE() << text;
  return "";
}

TEST(PromptFile, reads_texts_token_ids_and_conversations) {
  EXPECT_EQ(std::get<std::string>(only_line(R"({"prompt": "a\nb"})").question.prompts.at(0)), "a\nb");
  EXPECT_EQ(std::get<std::string>(only_line(R"({"text": ""})").question.prompts.at(0)), "");
  EXPECT_EQ(std::get<std::vector<int32_t>>(only_line(R"({"prompt": [3, 0]})").question.prompts.at(0)),
            (std::vector<int32_t>{3, 0}));
  const FileLine line = only_line(
      R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})");
  const auto& conversation = std::get<Conversation>(line.question.prompts.at(0));
  EXPECT_EQ(conversation.messages[0]["content"], "a\nb");
  EXPECT_TRUE(conversation.add_generation_prompt);
}

TEST(PromptFile, counts_lines_and_skips_blank_ones) {
  const PromptFile file = parse("{\"prompt\": \"a\"}\r\n\n  \n{\"prompt\": \"b\", \"id\": {\"x\": 1}}");
  ASSERT_EQ(file.lines.size(), 2u);
  EXPECT_EQ(file.lines[0].question.line, 1);
  EXPECT_EQ(file.lines[1].question.line, 4);
  EXPECT_EQ(file.lines[1].id_key, "id");
  EXPECT_EQ(file.lines[1].id, Json::parse(R"({"x": 1})"));
  const PromptFile plain = parse_prompt_file("{not JSON\n\nb\n", true, "in.txt", FileJob::kGenerate, {});
  ASSERT_EQ(plain.lines.size(), 2u);
  EXPECT_EQ(std::get<std::string>(plain.lines[0].question.prompts[0]), "{not JSON");
}

TEST(PromptFile, a_limit_is_a_number_or_a_part) {
  const std::string text = "{\"prompt\": \"a\"}\n\n{\"prompt\": \"b\"}\n{\"prompt\": \"c\"}\nbroken";
  EXPECT_EQ(parse(text, FileJob::kGenerate, 2).lines.size(), 2u);
  EXPECT_EQ(parse(text, FileJob::kGenerate, 0.3).lines.size(), 2u) << "rounded up, of four";
}

TEST(PromptFile, other_keys_are_the_user_s_own_unless_they_mean_something) {
  const PromptFile file = parse(R"({"prompt": "a", "answer": 5, "source": "x", "user": "me"})"
                                "\n"
                                R"({"prompt": "a", "answer": 6})");
  EXPECT_EQ(file.unused_keys, (std::vector<std::string>{"answer", "source", "user"}));
  EXPECT_NE(failure(R"({"prompt": "a", "max_tokns": 5})")
                .find("in.jsonl:1: unknown setting \"max_tokns\"; did you mean max_tokens"),
            std::string::npos);
  EXPECT_NE(failure(R"({"prompt": "a", "tools": [{}]})").find("tools"), std::string::npos);
  EXPECT_EQ(only_line(R"({"prompt": "a", "tools": [], "stream": false, "best_of": 1})").refusal, "");
}

TEST(PromptFile, settings_have_many_names) {
  for (const char* name : {"max_tokens", "max_new_tokens", "max_gen_toks", "max_completion_tokens"}) {
    EXPECT_EQ(only_line(fmt::format(R"({{"prompt": "a", "{}": 7}})", name)).settings.max_tokens, 7) << name;
  }
  const LineSettings settings =
      only_line(R"({"prompt": "a", "until": "x", "top_k": -1, "seed": -3, "temperature": null})").settings;
  EXPECT_EQ(settings.stop, (std::vector<std::string>{"x"}));
  EXPECT_EQ(settings.top_k, 0);
  EXPECT_EQ(settings.seed, -3);
  EXPECT_FALSE(settings.temperature.has_value());
  for (const char* bad : {R"("temperature": true)", R"("top_p": 1.5)", R"("max_tokens": 0)", R"("max_tokens": 2.5)",
                          R"("stop": [1])", R"("n": 0)", R"("seed": 18446744073709551615)", R"("top_k": -2)",
                          R"("do_sample": 1)", R"("stop_token_ids": 5)"}) {
    EXPECT_NE(failure(fmt::format(R"({{"prompt": "a", {}}})", bad)).find("expected"), std::string::npos) << bad;
  }
}

TEST(PromptFile, a_fault_within_an_openai_body_is_the_line_s) {
  const auto line = [](const char* url, const char* body) {
    return only_line(fmt::format(R"({{"custom_id": "c", "method": "POST", "url": "{}", "body": {}}})", url, body));
  };
  EXPECT_EQ(line("/v1/completions", R"({"prompt": ["a", [1, 2]], "model": "m"})").question.prompts.size(), 2u);
  EXPECT_EQ(line("/v1/completions", R"({"prompt": [1, 2]})").question.prompts.size(), 1u);
  EXPECT_EQ(line("/v1/completions", R"({"prompt": "a", "model": "m"})").model, "m");
  const FileLine continued =
      line("/v1/chat/completions",
           R"({"messages": [{"role": "assistant", "content": "x"}], "continue_final_message": true})");
  EXPECT_TRUE(std::get<Conversation>(continued.question.prompts[0]).continue_final_message);
  EXPECT_FALSE(std::get<Conversation>(continued.question.prompts[0]).add_generation_prompt);
  for (const auto& [url, body, key] :
       {std::tuple("/v1/embeddings", "{}", "url"),
        {"/v1/completions", "{}", "prompt"},
        {"/v1/completions", R"({"prompt": "a", "messages": []})", "messages"},
        {"/v1/chat/completions", R"({"messages": "a"})", "messages"},
        {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "a"}], "tools": [{"x": 1}]})", "tools"},
        {"/v1/completions", R"({"prompt": "a", "logprobs": 5})", "logprobs"},
        {"/v1/completions", R"({"prompt": "a", "best_of": 4})", "best_of"}}) {
    const FileLine refused = line(url, body);
    EXPECT_NE(refused.refusal, "") << body;
    EXPECT_EQ(refused.refused_key, key) << body;
  }
  EXPECT_NE(failure(R"({"custom_id": 5, "url": "/v1/completions", "body": {}})").find("custom_id"), std::string::npos);
}

TEST(PromptFile, of_logprobs) {
  const FileLine one = only_line(R"({"prompt": "a", "continuation": "b", "temperature": 5})", FileJob::kLogprobs);
  EXPECT_EQ(one.question.continuations.size(), 1u);
  EXPECT_FALSE(one.has_many);
  EXPECT_TRUE(only_line(R"({"prompt": [1], "continuations": [[2], [3, 4]]})", FileJob::kLogprobs).has_many);
  EXPECT_TRUE(only_line(R"({"text": "a"})", FileJob::kLogprobs).question.is_whole_text);
  for (const char* bad : {R"({"prompt": "a"})", R"({"prompt": "a", "continuation": "b", "continuations": []})",
                          R"({"text": "a", "prompt": "b"})", R"({"custom_id": "c", "url": "u", "body": {}})",
                          R"({"prompt": "a", "continuations": "b"})"}) {
    failure(bad, FileJob::kLogprobs);
  }
}

TEST(PromptFile, refuses_what_is_no_line) {
  for (const char* bad : {"", "\n \n", "5", "{\"prompt\": \"a\"", "{\"prompt\": -1}", "{\"prompt\": [-1]}",
                          "{\"prompt\": [1.5]}", "{\"prompt\": [99999999999]}", "{\"prompt\": \"\xff\"}",
                          "{\"messages\": []}", "{\"messages\": [{\"role\": 1, \"content\": \"\"}]}"}) {
    failure(bad);
  }
  std::string deep = "{\"prompt\": \"a\", \"x\": " + std::string(100'000, '[');
  failure(deep);
}

TEST(Question, travels_as_bytes) {
  Question question;
  question.line = 7;
  question.is_batch_line = true;
  question.max_tokens = 12;
  question.prompts = {std::string("a\0b", 3), std::vector<int32_t>{1, 2},
                      Conversation{Json::parse(R"([{"role": "user", "content": "é"}])"), false, true}};
  question.continuations = {std::string()};
  const Question read = question_from_bytes(to_bytes(question));
  EXPECT_EQ(to_bytes(read), to_bytes(question));
  EXPECT_EQ(std::get<Conversation>(read.prompts[2]).messages, std::get<Conversation>(question.prompts[2]).messages);
  EXPECT_EQ(read.max_tokens, 12);
  EXPECT_THROW(question_from_bytes(to_bytes(question).substr(0, 20)), Error);
}

}  // namespace
}  // namespace evalmpi::eval

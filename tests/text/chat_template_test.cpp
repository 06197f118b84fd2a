#include "evalmpi/text/chat_template.h"

#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <functional>

#include "evalmpi/base/error.h"
#include "temporary_directory.h"

namespace evalmpi::text {
namespace {

const std::filesystem::path kFixtures = std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/text";

void write(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

std::string message_of(const std::function<void()>& action, ExitCode code = ExitCode::kBadInput) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

// Twenty templates of published shapes, each with eight conversations, against transformers' apply_chat_template.
TEST(ChatTemplate, RendersConversationsAsTransformers) {
  const Json file = read_json_file(kFixtures / "chat_templates.json");
  ASSERT_GE(file["families"].size(), 12u);
  for (const Json& family : file["families"]) {
    const auto name = family["name"].get<std::string>();
    const ChatTemplate chat = ChatTemplate::parse(family["template"].get<std::string>(), name, file["tokens"]);
    for (const Json& row : family["rows"]) {
      SCOPED_TRACE(name + ": " + row["conversation"].get<std::string>() + row["add_generation_prompt"].dump());
      const Json& messages = file["conversations"][row["conversation"].get<std::string>()];
      const auto render = [&] {
        return chat.render(messages, row["add_generation_prompt"].get<bool>(), row["continue"].get<bool>());
      };
      if (row.contains("text")) {
        EXPECT_EQ(render(), row["text"].get<std::string>());
      } else {
        EXPECT_NE(message_of(render).find(row["error"].get<std::string>()), std::string::npos) << message_of(render);
      }
    }
  }
}

TEST(ChatTemplate, ComesFromTheFilesOfTheFolderInTransformersOrder) {
  const TemporaryDirectory folder;
  const auto sources = [&] { return read_chat_templates(folder.path()); };
  using Map = std::map<std::string, std::string>;
  EXPECT_EQ(sources(), Map());
  write(folder / "chat_template.json", R"({"chat_template": "of a processor"})");
  EXPECT_EQ(sources(), (Map{{"default", "of a processor"}}));
  write(folder / "tokenizer_config.json", R"({"chat_template": "of the settings"})");
  EXPECT_EQ(sources(), (Map{{"default", "of the settings"}}));
  write(folder / "tokenizer_config.json",
        R"({"chat_template": [{"name": "default", "template": "a"}, {"name": "tools", "template": "b"}]})");
  EXPECT_EQ(sources(), (Map{{"default", "a"}, {"tools", "b"}}));
  write(folder / "chat_template.jinja", "of its own file");
  EXPECT_EQ(sources(), (Map{{"default", "of its own file"}}));
  write(folder / "additional_chat_templates/rag.jinja", "c");
  EXPECT_EQ(sources(), (Map{{"default", "of its own file"}, {"rag", "c"}}));
  std::filesystem::remove(folder.path() / "chat_template.jinja");
  std::filesystem::remove_all(folder.path() / "additional_chat_templates");
  write(folder / "tokenizer_config.json", R"({"chat_template": [{"name": "x"}]})");
  EXPECT_NE(message_of(sources).find("chat_template: must be text, or a list"), std::string::npos);
}

TEST(ChatTemplate, IsChosenByNameAndSeesTheSpecialTokens) {
  const TemporaryDirectory folder;
  std::filesystem::copy(kFixtures / "tokenizers/llama2_like", folder.path(), std::filesystem::copy_options::recursive);
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  const auto load = [&](const std::string& name) {
    return ChatTemplate::load(folder.path(), tokenizer, name, {{"more", 7}});
  };
  EXPECT_NE(message_of([&] { load(""); }, ExitCode::kUsage).find("no chat template"), std::string::npos);
  write(folder / "chat_template.jinja",
        "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ more }}{{ tools }}\n");
  const Json messages = {{{"role", "user"}, {"content", "q"}}};
  EXPECT_EQ(load("").render(messages, true), "<s>q</s>7None");
  EXPECT_FALSE(load("").name_is_ignored());
  EXPECT_TRUE(load("other").name_is_ignored());
  write(folder / "additional_chat_templates/rag.jinja", "r");
  EXPECT_EQ(load("rag").render(messages, true), "r");
  EXPECT_NE(message_of([&] { load("other"); }, ExitCode::kUsage).find("these are: default, rag"), std::string::npos);
}

TEST(ChatTemplate, KnowsTheDay) {
  const auto year = [] {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    return std::to_string(1900 + local.tm_year);
  };
  const ChatTemplate chat = ChatTemplate::parse("{{ strftime_now('%Y') }}|{{ strftime_now('') }}", "t", Json::object());
  const std::string before = year();
  const std::string text = chat.render(Json::array(), false);
  EXPECT_TRUE(text == before + "|" || text == year() + "|") << text;
}

TEST(ChatTemplate, RefusesToContinueAMessageThatIsDropped) {
  const ChatTemplate chat = ChatTemplate::parse("{{ messages[-1].content[:3] }}", "t", Json::object());
  const Json messages = {{{"role", "assistant"}, {"content", "abcdef"}}};
  EXPECT_NE(message_of([&] { chat.render(messages, false, true); }).find("drops a part"), std::string::npos);
}

}  // namespace
}  // namespace evalmpi::text

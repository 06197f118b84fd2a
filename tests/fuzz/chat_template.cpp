#include "evalmpi/text/chat_template.h"

#include "evalmpi/base/json.h"
#include "target.h"

using namespace evalmpi;

// tokenizer_config.json, the conversation, and chat_template.jinja.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = fuzz::parts(fuzz::as_text(data, size), 3);
  fuzz::put_file("tokenizer_config.json", parts[0]);
  std::filesystem::remove(fuzz::folder() / "chat_template.jinja");
  if (!parts[2].empty()) fuzz::put_file("chat_template.jinja", parts[2]);
  fuzz::feed([&] {
    Json messages = Json::array({{{"role", "user"}, {"content", "Hi"}}, {{"role", "assistant"}, {"content", "Yes"}}});
    fuzz::feed([&] { messages = parse_json(parts[1], "messages"); });
    const bool can_continue = messages.is_array() && !messages.empty() && messages.back().is_object() &&
                              messages.back().value("content", Json()).is_string();
    for (const auto& [name, source] : text::read_chat_templates(fuzz::folder())) {
      fuzz::feed([&] {
        const auto parsed = text::ChatTemplate::parse(source, name, {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
        fuzz::feed([&] { parsed.render(messages, true); });
        if (can_continue) parsed.render(messages, false, true);
      });
    }
  });
  return 0;
}

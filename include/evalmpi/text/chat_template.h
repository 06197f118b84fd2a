#pragma once

// Conversations as prompts: the templates that come with a model's tokenizer, rendered as transformers does.

#include <filesystem>
#include <map>
#include <string>

#include "evalmpi/base/json.h"
#include "evalmpi/text/jinja.h"
#include "evalmpi/text/tokenizer.h"

namespace evalmpi::text {

// The chat templates of a tokenizer's folder by name; a single one is called "default". As transformers 4.57.6 reads
// them: chat_template.jinja and additional_chat_templates/NAME.jinja, else chat_template of tokenizer_config.json (a
// text, or a list of {"name", "template"}); else chat_template.json, where processors keep theirs. Empty if there are
// none. FAILS: kBadInput naming the file and key.
std::map<std::string, std::string> read_chat_templates(const std::filesystem::path& folder);

// One template with the variables that every conversation sees. Copies share the parsed form; rendering is const and
// safe from several threads.
class ChatTemplate {
 public:
  // The template `name` of the folder; empty: "default". A folder with one template has it under every name, as in
  // the harness (`name_is_ignored` then says so). Variables: the special tokens (bos_token, ...), and those of `more`,
  // an object.
  // FAILS: kUsage if there is no such template, naming those there are; kBadInput on a template that cannot be parsed.
  static ChatTemplate load(const std::filesystem::path& folder, const Tokenizer& tokenizer, const std::string& name,
                           const Json& more = Json::object());

  // The same from its source; `where` names it in messages.
  static ChatTemplate parse(std::string source, std::string where, Json variables);

  // `messages`: [{"role": .., "content": ..}, ..]. With add_generation_prompt the prompt ends where the assistant's
  // answer begins; with continue_final_message it ends inside the last message, behind its content.
  // FAILS: kBadInput with the template's own words where it refuses the conversation, or its place and reason; and
  // where it drops a part of the message to be continued.
  std::string render(const Json& messages, bool add_generation_prompt, bool continue_final_message = false) const;

  const std::string& source() const { return template_.source(); }
  bool name_is_ignored() const { return name_is_ignored_; }

 private:
  ChatTemplate(Template parsed, std::string where, Json variables)
      : template_(std::move(parsed)), where_(std::move(where)), variables_(std::move(variables)) {}

  Template template_;
  std::string where_;
  Json variables_;
  bool name_is_ignored_ = false;
};

}  // namespace evalmpi::text

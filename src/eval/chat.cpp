#include "chat.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "evalmpi/base/error.h"
#include "evalmpi/base/log.h"

namespace evalmpi::eval {
namespace {

std::string render_chat(const text::ChatTemplate& chat, const Json& messages, bool add_generation_prompt) {
  const auto is_system = [](const Json& message) { return message["role"] == "system"; };
  if (std::none_of(messages.begin(), messages.end(), is_system)) {
    return chat.render(messages, add_generation_prompt, !add_generation_prompt);
  }
  try {
    return chat.render(messages, add_generation_prompt, !add_generation_prompt);
  } catch (const Error&) {
    Json others = Json::array();
    std::copy_if(messages.begin(), messages.end(), std::back_inserter(others), std::not_fn(is_system));
    return chat.render(others, add_generation_prompt, !add_generation_prompt);
  }
}

}  // namespace

ChatOptions resolve_chat(const EvalOptions& options) {
  const std::string& name = options.apply_chat_template;
  ChatOptions chat;
  chat.applies = !name.empty() && name != "false" && name != "False";
  if (chat.applies && name != "true" && name != "True") chat.template_name = name;
  chat.arguments = parse_key_values(options.chat_template_args, "chat-template-args");
  chat.fewshot_as_multiturn = options.fewshot_as_multiturn;
  if (chat.applies && !chat.fewshot_as_multiturn) chat.fewshot_as_multiturn = true;
  if (!chat.applies && chat.fewshot_as_multiturn.value_or(false)) {
    fail(ExitCode::kUsage, "--fewshot-as-multiturn: only a chat has turns; add --apply-chat-template");
  }
  if (options.enable_thinking && chat.applies) chat.arguments["enable_thinking"] = *options.enable_thinking;
  chat.thinks = chat.applies && options.enable_thinking.value_or(false);
  if (options.enable_thinking.value_or(false) && options.think_end_token.empty()) {
    fail(ExitCode::kUsage,
         "--enable-thinking true: where does the answer begin? Say --think-end-token, such as </think>");
  }
  if (!chat.applies && options.enable_thinking.value_or(false)) {
    fail(ExitCode::kUsage, "--enable-thinking true: no chat template is in use; add --apply-chat-template");
  }
  if (!chat.applies && !chat.arguments.empty()) {
    fail(ExitCode::kUsage, "--chat-template-args {}: no chat template is in use; add --apply-chat-template",
         options.chat_template_args);
  }
  return chat;
}

std::optional<text::ChatTemplate> load_chat_template(const ChatOptions& chat, const std::filesystem::path& folder,
                                                     const text::Tokenizer& tokenizer) {
  if (!chat.applies) return std::nullopt;
  auto chat_template = text::ChatTemplate::load(folder, tokenizer, chat.template_name, chat.arguments);
  if (chat_template.name_is_ignored()) {
    log::warning("--apply-chat-template {}: the tokenizer has one chat template, without a name; it is used",
                 chat.template_name);
  }
  return chat_template;
}

task::ChatTemplate task_chat_template(text::ChatTemplate chat_template) {
  return [chat = std::move(chat_template)](const Json& messages, bool add_generation_prompt) {
    return render_chat(chat, messages, add_generation_prompt);
  };
}

}  // namespace evalmpi::eval

#pragma once

// Prompts as conversations: what the options say about it, and the model's chat template behind them.

#include <optional>

#include "evalmpi/eval/options.h"
#include "evalmpi/task/task.h"
#include "evalmpi/text/chat_template.h"

namespace evalmpi::eval {

// FAILS: kUsage for turns or arguments without a chat template.
ChatOptions resolve_chat(const EvalOptions& options);

// The chosen template of the tokenizer's folder; nullopt without --apply-chat-template. FAILS: as ChatTemplate::load.
std::optional<text::ChatTemplate> load_chat_template(const ChatOptions& chat, const std::filesystem::path& folder,
                                                     const text::Tokenizer& tokenizer);

// The template as tasks call it, with the harness's rule: one that refuses a conversation is tried once more without
// the system's message.
task::ChatTemplate task_chat_template(text::ChatTemplate chat_template);

}  // namespace evalmpi::eval

#pragma once

// The lines of a user's file: what each asks, and how it wants its answer. Pure functions of the text.
//
//   generate   {"prompt": P, <settings>}                        P: a text, or a list of token ids; also "text"
//              {"messages": [{"role", "content"}, ..], <settings>}
//              {"custom_id", "method": "POST", "url", "body"}   OpenAI batch: /v1/completions, /v1/chat/completions
//   logprobs   {"prompt": P, "continuation": P}, {"prompt": P, "continuations": [P, ..]}, {"text": P}; "messages" in
//   place
//              of "prompt"
//
// "id" or "custom_id" comes back with the answer; other keys of plain lines are the user's and are not looked at,
// unless they are settings that evalmpi does not compute, or nearly spell one.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/eval/file_options.h"
#include "line_settings.h"

namespace evalmpi::eval {

struct Conversation {
  Json messages;  // [{"role": text, "content": text, ..}, ..]
  bool add_generation_prompt = true;
  bool continue_final_message = false;
};

using Prompt = std::variant<std::string, std::vector<int32_t>, Conversation>;

// What a line asks; travels to the rank that encodes it.
struct Question {
  int64_t line = 0;                   // in the file, from 1
  bool is_batch_line = false;         // OpenAI's format: what is wrong with it is said in its result
  std::vector<Prompt> prompts;        // several: of a completion only
  std::vector<Prompt> continuations;  // of prompts[0], to be scored; neither messages
  bool is_whole_text = false;         // prompts[0] is scored itself
  std::optional<int32_t> max_tokens;
};
std::string to_bytes(const Question& question);
Question question_from_bytes(std::string_view bytes);  // FAILS: kBadInput

enum class LineForm { kPlain, kCompletion, kChat };

struct FileLine {
  LineForm form = LineForm::kPlain;
  Question question;
  LineSettings settings;    // the line's own
  Json id;                  // absent: null
  std::string id_key;       // "id" or "custom_id", as it stands in the line
  std::string model;        // OpenAI: what the body names
  bool has_many = false;    // continuations, in a list
  std::string refusal;      // OpenAI: why it cannot be answered; empty: it can
  std::string refused_key;  // the key that is wrong, where it is one
};

struct PromptFile {
  std::vector<FileLine> lines;
  std::vector<std::string> unused_keys;  // of plain lines, each once, in order of first appearance
  bool has_conversations = false;
};

// text: of the whole file. is_plain: a prompt a line, not JSON. where: its name, for messages. Empty lines are skipped.
// limit: as FileOptions::each.limit. FAILS: kBadInput naming file and line, for plain lines whose settings are not
// those of line_settings.h too; for a file without lines.
PromptFile parse_prompt_file(std::string_view text, bool is_plain, const std::string& where, FileJob job,
                             std::optional<double> limit);

}  // namespace evalmpi::eval

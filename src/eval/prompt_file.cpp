#include "prompt_file.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "evalmpi/base/bytes.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"

namespace evalmpi::eval {
namespace {

constexpr size_t kMaxLineBytes = size_t{256} << 20;
constexpr size_t kMostPrompts = 100'000;
constexpr size_t kMostUnusedKeys = 100;

constexpr const char* kForms[] = {
    "expected {\"prompt\": \"...\"}, {\"messages\": [...]} or a line of the OpenAI batch format",
    "expected {\"prompt\": \"...\", \"continuation\": \"...\"} (or \"continuations\": [...]), or {\"text\": \"...\"}"};

// A fault of one key of a body; the line's result names it.
class BodyError : public Error {
 public:
  BodyError(std::string key, const std::string& message) : Error(ExitCode::kBadInput, message), key_(std::move(key)) {}
  const std::string& key() const { return key_; }

 private:
  std::string key_;
};

bool is_token_list(const Json& value) {
  return value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), [](const Json& id) {
           return id.is_number_integer() && id >= 0 && id <= std::numeric_limits<int32_t>::max();
         });
}

Prompt read_prompt(const std::string& key, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (is_token_list(value)) return value.get<std::vector<int32_t>>();
  throw BodyError(key, fmt::format("{} must be a text or a list of token ids", key));
}

// The text of a message: a text, or a list of parts, which are lines.
std::string content_text(const Json& content, size_t message) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) throw BodyError("messages", fmt::format("message {}: content must be a text", message));
  std::string text;
  for (const Json& part : content) {
    const bool is_text =
        part.is_object() && part.value("type", Json()) == "text" && part.value("text", Json()).is_string();
    if (!is_text) {
      throw BodyError(
          "messages",
          fmt::format("message {}: only parts of type text are supported, no images, audio or files", message));
    }
    text += (text.empty() ? "" : "\n") + part["text"].get<std::string>();
  }
  return text;
}

Conversation read_conversation(const Json& messages) {
  if (!messages.is_array() || messages.empty())
    throw BodyError("messages", "messages must be a list of {\"role\", \"content\"}");
  Conversation conversation;
  conversation.messages = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    Json message = messages[i];
    if (!message.is_object() || !message.value("role", Json()).is_string()) {
      throw BodyError("messages", fmt::format("message {} must be {{\"role\": \"...\", \"content\": \"...\"}}", i));
    }
    if (message.contains("tool_calls") && !message["tool_calls"].empty()) {
      throw BodyError("messages", fmt::format("message {}: tool_calls are not supported", i));
    }
    message["content"] = content_text(message.value("content", Json()), i);
    conversation.messages.push_back(std::move(message));
  }
  return conversation;
}

bool read_flag(const Json& body, const char* key, bool otherwise) {
  const auto found = body.find(key);
  if (found == body.end() || found->is_null()) return otherwise;
  if (!found->is_boolean()) throw BodyError(key, fmt::format("{} must be true or false", key));
  return found->get<bool>();
}

void take_setting(LineSettings& settings, const std::string& key, const Json& value) {
  try {
    set_setting(settings, key, value);
  } catch (const Error& error) {
    throw BodyError(key, error.what());
  }
}

void read_completion_prompts(FileLine& line, const Json& prompt) {
  if (prompt.is_array() && !is_token_list(prompt)) {
    if (prompt.empty() || prompt.size() > kMostPrompts)
      throw BodyError("prompt", "prompt must be a text, token ids, or a list of these");
    for (const Json& one : prompt) line.question.prompts.push_back(read_prompt("prompt", one));
  } else {
    line.question.prompts.push_back(read_prompt("prompt", prompt));
  }
}

void read_body(FileLine& line, const std::string& url, const Json& body) {
  if (url != "/v1/completions" && url != "/v1/chat/completions") {
    throw BodyError("url",
                    fmt::format("URL {} was used. Supported endpoints: /v1/completions, /v1/chat/completions", url));
  }
  line.form = url == "/v1/completions" ? LineForm::kCompletion : LineForm::kChat;
  const bool is_chat = line.form == LineForm::kChat;
  for (const auto& [key, value] : body.items()) {
    if (key == (is_chat ? "messages" : "prompt")) continue;
    if (is_chat && (key == "add_generation_prompt" || key == "continue_final_message")) continue;
    if (key == "model") {
      if (value.is_string()) line.model = value.get<std::string>();
      continue;
    }
    if (setting_kind(key) == SettingKind::kUnknown)
      throw BodyError(key, fmt::format("{} is not a setting of {}", key, url));
    take_setting(line.settings, key, value);
  }
  if (!is_chat) return read_completion_prompts(line, body.value("prompt", Json()));
  Conversation conversation = read_conversation(body.value("messages", Json()));
  conversation.continue_final_message = read_flag(body, "continue_final_message", false);
  conversation.add_generation_prompt = read_flag(body, "add_generation_prompt", !conversation.continue_final_message);
  if (conversation.continue_final_message && conversation.add_generation_prompt) {
    throw BodyError("continue_final_message", "continue_final_message and add_generation_prompt exclude each other");
  }
  line.question.prompts.emplace_back(std::move(conversation));
}

// FAILS: kBadInput for what makes it no line of the format; what is wrong within the body is the line's refusal.
void read_batch_line(FileLine& line, const Json& json) {
  const auto need = [&](const char* key, bool is_right, const char* expected) {
    if (!json.contains(key) || !is_right)
      fail(ExitCode::kBadInput, "\"{}\" of a line in the OpenAI batch format must be {}", key, expected);
  };
  need("custom_id", json.value("custom_id", Json()).is_string(), "a text");
  need("url", json.value("url", Json()).is_string(), "a text such as \"/v1/completions\"");
  need("body", json.value("body", Json()).is_object(), "an object");
  line.question.is_batch_line = true;
  line.id_key = "custom_id";
  line.id = json["custom_id"];
  line.form = json["url"] == "/v1/completions" ? LineForm::kCompletion : LineForm::kChat;
  try {
    if (json.value("method", Json("POST")) != "POST") throw BodyError("method", "the only method is POST");
    read_body(line, json["url"].get<std::string>(), json["body"]);
    line.question.max_tokens = line.settings.max_tokens;
  } catch (const BodyError& error) {
    line.refusal = error.what();
    line.refused_key = error.key();
  }
}

void read_id(FileLine& line, const Json& json) {
  for (const char* key : {"id", "custom_id"}) {
    const auto found = json.find(key);
    if (found == json.end()) continue;
    line.id_key = key;
    line.id = *found;
    return;
  }
}

// The keys of a plain line that say what is asked.
bool is_question_key(const std::string& key, FileJob job) {
  if (key == "prompt" || key == "messages" || key == "text" || key == "id" || key == "custom_id") return true;
  return job == FileJob::kLogprobs && (key == "continuation" || key == "continuations");
}

void read_other_keys(FileLine& line, const Json& json, FileJob job, std::vector<std::string>& unused) {
  for (const auto& [key, value] : json.items()) {
    if (is_question_key(key, job)) continue;
    const SettingKind kind = job == FileJob::kGenerate ? setting_kind(key) : SettingKind::kUnknown;
    if (kind == SettingKind::kSetting || kind == SettingKind::kUnsupported) {
      take_setting(line.settings, key, value);
      continue;
    }
    const auto nearest =
        job == FileJob::kGenerate && kind == SettingKind::kUnknown ? nearest_setting(key) : std::nullopt;
    if (nearest)
      fail(ExitCode::kBadInput, "unknown setting \"{}\"; did you mean {}? (begin the names of your own keys otherwise)",
           key, *nearest);
    const bool is_known = std::find(unused.begin(), unused.end(), key) != unused.end();
    if (!is_known && unused.size() < kMostUnusedKeys) unused.push_back(key);
  }
}

// The one of the keys that the line has. FAILS: kBadInput when it has none or several.
std::string only_key(const Json& json, std::initializer_list<const char*> keys, FileJob job) {
  std::string found;
  for (const char* key : keys) {
    if (!json.contains(key)) continue;
    if (!found.empty()) fail(ExitCode::kBadInput, "both \"{}\" and \"{}\"; a line asks one thing", found, key);
    found = key;
  }
  if (found.empty()) fail(ExitCode::kBadInput, "{}", kForms[job == FileJob::kGenerate ? 0 : 1]);
  return found;
}

void read_plain_line(FileLine& line, const Json& json, FileJob job, std::vector<std::string>& unused) {
  Question& question = line.question;
  read_id(line, json);
  const std::string key = only_key(json, {"prompt", "messages", "text"}, job);
  if (key == "messages") {
    question.prompts.emplace_back(read_conversation(json[key]));
  } else {
    question.prompts.push_back(read_prompt(key, json[key]));
  }
  if (job == FileJob::kLogprobs) {
    question.is_whole_text = key == "text";
    if (question.is_whole_text) {
      if (json.contains("continuation") || json.contains("continuations")) {
        fail(ExitCode::kBadInput, "a \"text\" is scored whole; what a continuation follows is the \"prompt\"");
      }
    } else {
      line.has_many = only_key(json, {"continuation", "continuations"}, job) == "continuations";
      const Json& asked = line.has_many ? json["continuations"] : json["continuation"];
      if (line.has_many && (!asked.is_array() || asked.empty() || asked.size() > kMostPrompts)) {
        fail(ExitCode::kBadInput, "continuations must be a list of texts");
      }
      for (const Json& one : line.has_many ? asked : Json::array({asked}))
        question.continuations.push_back(read_prompt("continuation", one));
    }
  }
  read_other_keys(line, json, job, unused);
  question.max_tokens = line.settings.max_tokens;
}

FileLine read_line(std::string_view text, bool is_plain, int64_t number, const std::string& where, FileJob job,
                   std::vector<std::string>& unused) {
  FileLine line;
  line.question.line = number;
  if (is_plain) {
    line.question.prompts.emplace_back(std::string(text));
    line.question.is_whole_text = job == FileJob::kLogprobs;
    return line;
  }
  const std::string place = fmt::format("{}:{}", where, number);
  const Json json = parse_json(text, place);
  try {
    if (!json.is_object()) fail(ExitCode::kBadInput, "{}", kForms[job == FileJob::kGenerate ? 0 : 1]);
    if (json.contains("body") && json.contains("url")) {
      if (job != FileJob::kGenerate)
        fail(ExitCode::kBadInput, "a line of the OpenAI batch format; evalmpi generate answers these");
      read_batch_line(line, json);
    } else {
      read_plain_line(line, json, job, unused);
    }
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", place, error.what());
  }
  return line;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r") == std::string_view::npos; }

template <class F>
void for_each_line(std::string_view text, const std::string& where, F f) {
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.size() > kMaxLineBytes)
      fail(ExitCode::kBadInput, "{}:{}: a line of {} bytes; at most 256 MiB are read", where, number, line.size());
    if (!is_blank(line) && !f(line, number)) return;
  }
}

// Lines to take.
int64_t count_wanted(std::string_view text, const std::string& where, std::optional<double> limit) {
  if (!limit) return std::numeric_limits<int64_t>::max();
  if (*limit >= 1) return static_cast<int64_t>(std::min(*limit, 1e18));
  int64_t lines = 0;
  for_each_line(text, where, [&](std::string_view, int64_t) { return ++lines > 0; });
  return static_cast<int64_t>(std::ceil(*limit * static_cast<double>(lines)));
}

void put_prompt(ByteWriter& out, const Prompt& prompt) {
  out.put(static_cast<uint8_t>(prompt.index()));
  if (const auto* text = std::get_if<std::string>(&prompt)) out.put_text(*text);
  if (const auto* tokens = std::get_if<std::vector<int32_t>>(&prompt)) out.put_array(*tokens);
  if (const auto* conversation = std::get_if<Conversation>(&prompt)) {
    out.put_text(conversation->messages.dump())
        .put(conversation->add_generation_prompt)
        .put(conversation->continue_final_message);
  }
}

Prompt get_prompt(ByteReader& in) {
  const auto kind = in.get<uint8_t>();
  if (kind == 0) return std::string(in.get_text());
  if (kind == 1) return in.get_array<int32_t>();
  Conversation conversation;
  conversation.messages = parse_json(in.get_text(), "messages");
  conversation.add_generation_prompt = in.get<bool>();
  conversation.continue_final_message = in.get<bool>();
  return conversation;
}

}  // namespace

std::string to_bytes(const Question& question) {
  ByteWriter out;
  out.put(question.line).put(question.is_batch_line).put(question.is_whole_text).put(question.max_tokens.value_or(-1));
  for (const auto* prompts : {&question.prompts, &question.continuations}) {
    out.put(static_cast<uint32_t>(prompts->size()));
    for (const Prompt& prompt : *prompts) put_prompt(out, prompt);
  }
  return out.take();
}

Question question_from_bytes(std::string_view bytes) {
  ByteReader in(bytes, "question");
  Question question;
  question.line = in.get<int64_t>();
  question.is_batch_line = in.get<bool>();
  question.is_whole_text = in.get<bool>();
  const auto max_tokens = in.get<int32_t>();
  if (max_tokens >= 0) question.max_tokens = max_tokens;
  for (auto* prompts : {&question.prompts, &question.continuations}) {
    const auto count = in.get<uint32_t>();
    for (uint32_t i = 0; i < count; ++i) prompts->push_back(get_prompt(in));
  }
  in.finish();
  return question;
}

PromptFile parse_prompt_file(std::string_view text, bool is_plain, const std::string& where, FileJob job,
                             std::optional<double> limit) {
  PromptFile file;
  const int64_t wanted = count_wanted(text, where, limit);
  for_each_line(text, where, [&](std::string_view line, int64_t number) {
    if (static_cast<int64_t>(file.lines.size()) >= wanted) return false;
    file.lines.push_back(read_line(line, is_plain, number, where, job, file.unused_keys));
    const std::vector<Prompt>& prompts = file.lines.back().question.prompts;
    file.has_conversations |= !prompts.empty() && std::holds_alternative<Conversation>(prompts.front());
    return true;
  });
  if (file.lines.empty()) fail(ExitCode::kBadInput, "{}: no lines", where);
  return file;
}

}  // namespace evalmpi::eval

#include "evalmpi/text/chat_template.h"

#include <algorithm>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/text/python.h"

namespace evalmpi::text {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTemplateBytes = uint64_t{1} << 20;
constexpr size_t kMaxTemplates = 100;
// Marks the place where a continued message ends. The blank tells whether the template strips messages.
constexpr std::string_view kEndMark = "CONTINUE_FINAL_MESSAGE_TAG";

using Templates = std::map<std::string, std::string>;

Templates templates_of_files(const fs::path& folder) {
  Templates templates;
  if (fs::exists(folder / "chat_template.jinja")) {
    templates["default"] = read_file(folder / "chat_template.jinja", kMaxTemplateBytes);
  }
  const fs::path more = folder / "additional_chat_templates";
  if (!fs::is_directory(more)) return templates;
  for (const fs::directory_entry& entry : fs::directory_iterator(more)) {
    if (entry.path().extension() != ".jinja") continue;
    if (templates.size() == kMaxTemplates)
      fail(ExitCode::kBadInput, "{}: holds more than {} templates", more.string(), kMaxTemplates);
    templates[entry.path().stem().string()] = read_file(entry.path(), kMaxTemplateBytes);
  }
  return templates;
}

// The value at "chat_template" of a file of settings: a text, or a list of named ones.
Templates templates_of_settings(const fs::path& path) {
  Templates templates;
  if (!fs::exists(path)) return templates;
  const Json settings = read_json_file(path);
  if (!settings.is_object() || !settings.contains("chat_template")) return templates;
  const Json& found = settings["chat_template"];
  if (found.is_null()) return templates;
  const auto text_at = [&](const Json& holder, const char* key) -> std::string {
    if (!holder.is_object() || !holder.contains(key) || !holder[key].is_string())
      fail(ExitCode::kBadInput, "{}: chat_template: must be text, or a list of {{\"name\", \"template\"}}",
           path.string());
    return holder[key].get<std::string>();
  };
  if (!found.is_array()) {
    templates["default"] = text_at(settings, "chat_template");
    return templates;
  }
  if (found.size() > kMaxTemplates)
    fail(ExitCode::kBadInput, "{}: chat_template: more than {} templates", path.string(), kMaxTemplates);
  for (const Json& entry : found) templates[text_at(entry, "name")] = text_at(entry, "template");
  return templates;
}

}  // namespace

Templates read_chat_templates(const fs::path& folder) {
  for (const Templates& templates :
       {templates_of_files(folder), templates_of_settings(folder / "tokenizer_config.json"),
        templates_of_settings(folder / "chat_template.json")}) {
    if (!templates.empty()) return templates;
  }
  return {};
}

ChatTemplate ChatTemplate::load(const fs::path& folder, const Tokenizer& tokenizer, const std::string& name,
                                const Json& more) {
  const Templates templates = read_chat_templates(folder);
  if (templates.empty())
    fail(ExitCode::kUsage,
         "{}: the tokenizer has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); "
         "evaluate the model without one, or put one there",
         folder.string());
  std::string wanted = name.empty() ? "default" : name;
  const bool single = templates.size() == 1 && templates.contains("default");
  const bool ignored = single && wanted != "default";
  if (ignored) wanted = "default";
  const auto found = templates.find(wanted);
  if (found == templates.end()) {
    std::string known;
    for (const auto& [key, source] : templates) known += (known.empty() ? "" : ", ") + key;
    fail(ExitCode::kUsage, "{}: no chat template is called '{}'; these are: {}", folder.string(), wanted, known);
  }
  Json variables = Json::object();
  for (const auto& [key, content] : tokenizer.named_tokens()) variables[key] = content;
  variables.update(more);
  ChatTemplate out =
      parse(found->second, fmt::format("{}: chat template '{}'", folder.string(), wanted), std::move(variables));
  out.name_is_ignored_ = ignored;
  return out;
}

ChatTemplate ChatTemplate::parse(std::string source, std::string where, Json variables) {
  Template parsed = Template::parse(std::move(source), where, TemplateOptions::chat());
  return ChatTemplate(std::move(parsed), std::move(where), std::move(variables));
}

std::string ChatTemplate::render(const Json& messages, bool add_generation_prompt, bool continue_final_message) const {
  Json variables = {{"messages", messages},
                    {"tools", nullptr},
                    {"documents", nullptr},
                    {"add_generation_prompt", add_generation_prompt}};
  variables.update(variables_);
  if (!continue_final_message) return template_.render(variables);
  EVALMPI_CHECK(!messages.empty() && messages.back()["content"].is_string());
  auto& content = variables["messages"].back()["content"].get_ref<std::string&>();
  const auto last = std::string(python::strip(content));
  content += kEndMark;
  content += ' ';
  std::string text = template_.render(variables);
  const size_t end = text.rfind(kEndMark);
  if (end == std::string::npos || text.find(last) == std::string::npos)
    fail(ExitCode::kBadInput,
         "{}: the last message is to be continued, but the template drops a part of it: '{}' does not appear", where_,
         last);
  const bool strips = end + kEndMark.size() >= text.size() || text[end + kEndMark.size()] != ' ';
  text.resize(end);
  return strips ? std::string(python::rstrip(text)) : text;
}

}  // namespace evalmpi::text

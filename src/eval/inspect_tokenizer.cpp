#include "inspect_tokenizer.h"

#include <set>
#include <string>

#include "evalmpi/base/file.h"
#include "evalmpi/text/chat_template.h"
#include "evalmpi/text/tokenizer.h"

namespace evalmpi::eval {
namespace {

namespace fs = std::filesystem;

// The members of a JSON file whose keys are in `wanted` at every level; null where there is no such file. Vocabularies
// never become a tree, which would take long and much memory.
Json read_members(const fs::path& path, const std::set<std::string>& wanted) {
  if (!fs::exists(path)) return nullptr;
  const std::string text = read_file(path);
  const auto keep = [&](int, Json::parse_event_t event, Json& parsed) {
    return event != Json::parse_event_t::key || wanted.contains(parsed.get_ref<const std::string&>());
  };
  return Json::parse(text, keep, /*allow_exceptions=*/false);
}

std::string text_at(const Json& object, const char* key) {
  const bool has = object.is_object() && object.contains(key) && object[key].is_string();
  return has ? object[key].get<std::string>() : "";
}

// "Sequence(Split, ByteLevel)"; empty for none.
std::string component_text(const Json& component) {
  const std::string type = text_at(component, "type");
  std::string inner;
  for (const char* list : {"normalizers", "pretokenizers", "processors", "decoders"}) {
    if (!component.is_object() || !component.contains(list) || !component[list].is_array()) continue;
    for (const Json& part : component[list]) inner += (inner.empty() ? "" : ", ") + text_at(part, "type");
  }
  return inner.empty() ? type : type + "(" + inner + ")";
}

Json components(const fs::path& folder) {
  const Json file = read_members(folder / "tokenizer.json",
                                 {"model", "normalizer", "pre_tokenizer", "post_processor", "decoder", "type",
                                  "byte_fallback", "normalizers", "pretokenizers", "processors", "decoders"});
  if (!file.is_object()) return {{"file", "tokenizer.model"}, {"kind", "SentencePiece"}};
  Json facts = {{"file", "tokenizer.json"}};
  const Json model = file.contains("model") ? file["model"] : Json();
  const std::string type = text_at(model, "type");
  facts["kind"] = type.empty() ? "BPE" : type;
  facts["byte_fallback"] = model.is_object() && model.contains("byte_fallback") && model["byte_fallback"] == true;
  for (const char* name : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    facts[name] = file.contains(name) ? component_text(file[name]) : "";
  }
  return facts;
}

Json chat_template_names(const fs::path& folder) {
  Json names = Json::array();
  for (const auto& [name, source] : text::read_chat_templates(folder)) names.push_back(name);
  return names;
}

Json token_json(const std::string& text, const std::optional<int32_t>& id) {
  if (text.empty() && !id) return nullptr;
  return {{"text", text}, {"id", id ? Json(*id) : Json(nullptr)}};
}

}  // namespace

Json tokenizer_facts(const fs::path& folder, int64_t vocab, std::optional<Error>& problem) {
  try {
    const text::Tokenizer tokenizer = text::Tokenizer::load(folder);
    Json facts = components(folder);
    const Json config = read_members(folder / "tokenizer_config.json", {"tokenizer_class"});
    facts["class"] = text_at(config, "tokenizer_class");
    facts["tokens"] = tokenizer.size();
    facts["model_rows"] = vocab;
    facts["bos"] = token_json(tokenizer.bos_token(), tokenizer.bos_id());
    facts["eos"] = token_json(tokenizer.eos_token(), tokenizer.eos_id());
    facts["pad"] = token_json(tokenizer.pad_token(), tokenizer.pad_id());
    facts["unk"] = token_json(tokenizer.unk_token(), tokenizer.token_id(tokenizer.unk_token()));
    facts["adds_special_tokens"] = tokenizer.adds_special_tokens();
    facts["chat_templates"] = chat_template_names(folder);
    return facts;
  } catch (const Error& error) {
    problem = error;
    return nullptr;
  }
}

}  // namespace evalmpi::eval

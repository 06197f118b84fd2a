#include "tokenizer_config.h"

#include <algorithm>
#include <array>

#include "component.h"
#include "evalmpi/base/log.h"

namespace evalmpi::text {
namespace {

// A tokenizer class of transformers: the arguments' defaults ("" is None) and whether it calls update_post_processor.
struct ClassRow {
  std::string_view name;
  std::string_view bos;
  std::string_view eos;
  std::string_view unk;
  std::string_view pad;
  bool rewrites_template;
  bool add_bos;
};
constexpr std::string_view kEndOfText = "<|endoftext|>";
constexpr std::array kClasses = {
    ClassRow{"PreTrainedTokenizerFast", "", "", "", "", false, false},
    ClassRow{"GPT2TokenizerFast", kEndOfText, kEndOfText, kEndOfText, "", false, false},
    ClassRow{"CodeGenTokenizerFast", kEndOfText, kEndOfText, kEndOfText, "", false, false},
    ClassRow{"GPTNeoXTokenizerFast", kEndOfText, kEndOfText, kEndOfText, "", true, false},
    ClassRow{"LlamaTokenizerFast", "<s>", "</s>", "<unk>", "", true, true},
    ClassRow{"CodeLlamaTokenizerFast", "<s>", "</s>", "<unk>", "", true, true},
    ClassRow{"GemmaTokenizerFast", "<bos>", "<eos>", "<unk>", "<pad>", true, true},
    ClassRow{"CohereTokenizerFast", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", "<UNK>", "", true, true},
    ClassRow{"Qwen2TokenizerFast", "", kEndOfText, kEndOfText, kEndOfText, false, false},
    ClassRow{"BloomTokenizerFast", "<s>", "</s>", "<unk>", "<pad>", false, false},
};

// The class that a config.json without tokenizer_class stands for.
struct ModelRow {
  std::string_view model_type;
  std::string_view class_name;
};
constexpr std::array kModels = {
    ModelRow{"gpt2", "GPT2TokenizerFast"},       ModelRow{"gpt_bigcode", "GPT2TokenizerFast"},
    ModelRow{"gpt_neo", "GPT2TokenizerFast"},    ModelRow{"gptj", "GPT2TokenizerFast"},
    ModelRow{"opt", "GPT2TokenizerFast"},        ModelRow{"starcoder2", "GPT2TokenizerFast"},
    ModelRow{"olmo3", "GPT2TokenizerFast"},      ModelRow{"gpt_neox", "GPTNeoXTokenizerFast"},
    ModelRow{"mpt", "GPTNeoXTokenizerFast"},     ModelRow{"olmo", "GPTNeoXTokenizerFast"},
    ModelRow{"olmo2", "GPTNeoXTokenizerFast"},   ModelRow{"stablelm", "GPTNeoXTokenizerFast"},
    ModelRow{"codegen", "CodeGenTokenizerFast"}, ModelRow{"phi", "CodeGenTokenizerFast"},
    ModelRow{"llama", "LlamaTokenizerFast"},     ModelRow{"mistral", "LlamaTokenizerFast"},
    ModelRow{"mixtral", "LlamaTokenizerFast"},   ModelRow{"phi3", "LlamaTokenizerFast"},
    ModelRow{"gemma", "GemmaTokenizerFast"},     ModelRow{"gemma2", "GemmaTokenizerFast"},
    ModelRow{"gemma3", "GemmaTokenizerFast"},    ModelRow{"gemma3_text", "GemmaTokenizerFast"},
    ModelRow{"cohere", "CohereTokenizerFast"},   ModelRow{"bloom", "BloomTokenizerFast"},
    ModelRow{"qwen2", "Qwen2TokenizerFast"},     ModelRow{"qwen2_moe", "Qwen2TokenizerFast"},
    ModelRow{"qwen3", "Qwen2TokenizerFast"},     ModelRow{"qwen3_moe", "Qwen2TokenizerFast"},
};

// The order in which missing special tokens get ids.
constexpr std::array kSpecialKeys = {"bos_token", "eos_token", "unk_token", "sep_token",
                                     "pad_token", "cls_token", "mask_token"};
constexpr const char* kMoreSpecialKey = "additional_special_tokens";

struct Files {
  Json config = Json::object();       // tokenizer_config.json
  Json special_map = Json::object();  // special_tokens_map.json
  Json added = Json::object();        // added_tokens.json
  Json model = Json::object();        // config.json
};

Json read_if_there(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return Json::object();
  Json json = read_json_file(path);
  if (!json.is_object()) fail(ExitCode::kBadInput, "{}: must be a JSON object", path.string());
  return json;
}

std::string class_name_of(const Component& config, const Component& model) {
  std::string name = config.text("tokenizer_class", model.text("tokenizer_class", ""));
  if (name.empty()) {
    const std::string model_type = model.text("model_type", "");
    const auto* row =
        std::find_if(kModels.begin(), kModels.end(), [&](const ModelRow& r) { return r.model_type == model_type; });
    name = row == kModels.end() ? "PreTrainedTokenizerFast" : row->class_name;
  }
  return name.ends_with("Fast") ? name : name + "Fast";
}

const ClassRow& class_row(const std::string& name) {
  for (const ClassRow& row : kClasses) {
    if (row.name == name) return row;
  }
  log::warning("tokenizer class {} is not known; it is read as PreTrainedTokenizerFast", name);
  return kClasses[0];
}

// A special token: its text, or an object with "content".
AddedToken special_token(const Json& json, const std::string& where) {
  AddedToken token;
  if (json.is_string()) {
    token.content = json.get<std::string>();
    token.normalized = false;
  } else {
    token = read_added_token(json, where);
  }
  token.special = true;
  return token;
}

// The special tokens by key, as the class's constructor gets them; later sources win.
class SpecialTokens {
 public:
  explicit SpecialTokens(const ClassRow& row) {
    set_default("bos_token", row.bos);
    set_default("eos_token", row.eos);
    set_default("unk_token", row.unk);
    set_default("pad_token", row.pad);
  }
  void read(const Json& json, const std::string& where) {
    for (const char* key : kSpecialKeys) {
      if (!json.contains(key)) continue;
      if (json[key].is_null()) {
        named.erase(key);
      } else {
        named[key] = special_token(json[key], where + ": " + key);
      }
    }
    if (!json.contains(kMoreSpecialKey) || !json[kMoreSpecialKey].is_array()) return;
    for (const Json& item : json[kMoreSpecialKey]) {
      const AddedToken token = special_token(item, where + ": " + kMoreSpecialKey);
      if (std::find(more.begin(), more.end(), token) == more.end()) more.push_back(token);
    }
  }
  std::vector<AddedToken> in_order() const {
    std::vector<AddedToken> out;
    for (const char* key : kSpecialKeys) {
      if (const auto found = named.find(key); found != named.end()) out.push_back(found->second);
    }
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  std::map<std::string, AddedToken> named;
  std::vector<AddedToken> more;

 private:
  void set_default(const char* key, std::string_view content) {
    if (!content.empty()) named[key] = special_token(Json(std::string(content)), key);
  }
};

// The tokens that transformers adds to those of tokenizer.json: all of `by_id` again, in id order, and then every
// special token that is not among them.
std::vector<AddedToken> tokens_to_add(const std::map<int64_t, AddedToken>& by_id, const SpecialTokens& special,
                                      const std::map<int64_t, AddedToken>& file_tokens) {
  std::vector<AddedToken> out;
  const std::vector<AddedToken> special_list = special.in_order();
  const auto named = [](const std::vector<AddedToken>& list, const std::string& content) {
    return std::any_of(list.begin(), list.end(), [&](const AddedToken& token) { return token.content == content; });
  };
  for (const auto& [id, token] : by_id) {
    out.push_back(token);
    out.back().special = token.special || named(special_list, token.content);
  }
  for (const AddedToken& token : special_list) {
    const bool in_file = std::any_of(file_tokens.begin(), file_tokens.end(),
                                     [&](const auto& entry) { return entry.second.content == token.content; });
    if (!in_file && !named(out, token.content)) out.push_back(token);
  }
  return out;
}

}  // namespace

AddedToken read_added_token(const Json& json, const std::string& where) {
  const Component entry(json, where);
  AddedToken token;
  token.content = entry.required_text("content");
  token.special = entry.boolean("special", false);
  token.normalized = entry.boolean("normalized", !token.special);
  token.left_strip = entry.boolean("lstrip", false);
  token.right_strip = entry.boolean("rstrip", false);
  token.single_word = entry.boolean("single_word", false);
  return token;
}

SlowTokenizer read_slow_tokenizer(const std::filesystem::path& folder) {
  const std::filesystem::path config_path = folder / "tokenizer_config.json";
  const std::filesystem::path model_path = folder / "config.json";
  const Json config_json = read_if_there(config_path);
  const Json model_json = read_if_there(model_path);
  const Component config(config_json, config_path.string());
  SlowTokenizer out;
  out.class_name = class_name_of(config, Component(model_json, model_path.string()));
  out.legacy = config.boolean("legacy", true);
  if (config.has("add_prefix_space")) out.add_prefix_space = config.boolean("add_prefix_space", true);
  out.add_bos_token = config.boolean("add_bos_token", false);
  SpecialTokens special(class_row(out.class_name));
  special.read(config_json, config_path.string());
  const auto content = [&](const char* key) {
    const auto found = special.named.find(key);
    return found == special.named.end() ? std::string() : found->second.content;
  };
  out.bos_token = content("bos_token");
  out.eos_token = content("eos_token");
  out.pad_token = content("pad_token");
  return out;
}

TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder,
                                      const std::map<int64_t, AddedToken>& file_tokens,
                                      const TokenizerOptions& options) {
  const std::filesystem::path config_path = folder / "tokenizer_config.json";
  const Json config_json = read_if_there(config_path);
  const Json model_json = read_if_there(folder / "config.json");
  const Component config(config_json, config_path.string());
  TokenizerConfig out;
  out.class_name = class_name_of(config, Component(model_json, (folder / "config.json").string()));
  const ClassRow& row = class_row(out.class_name);
  out.rewrites_template = row.rewrites_template;
  out.add_bos_token = options.add_bos_token.value_or(config.boolean("add_bos_token", row.add_bos));
  out.add_eos_token = config.boolean("add_eos_token", false);
  out.add_prefix_space = config.boolean("add_prefix_space", false);
  out.clean_up_spaces = config.boolean("clean_up_tokenization_spaces", false);

  SpecialTokens special(row);
  special.read(config_json, config_path.string());
  std::map<int64_t, AddedToken> by_id;
  if (config_json.contains("added_tokens_decoder")) {
    const Component decoder(config.get("added_tokens_decoder"), config.where() + ".added_tokens_decoder");
    for (const auto& [key, value] : config_json["added_tokens_decoder"].items()) {
      if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos)
        decoder.refuse(key, "is not a token id");
      by_id[std::stol(key)] = read_added_token(value, decoder.where() + "." + key);
    }
  } else {
    // Folders written before added_tokens_decoder existed.
    const std::filesystem::path map_path = folder / "special_tokens_map.json";
    special.read(read_if_there(map_path), map_path.string());
    const std::filesystem::path added_path = folder / "added_tokens.json";
    const Json added_json = read_if_there(added_path);
    for (const auto& [content, id] : added_json.items()) {
      if (!id.is_number_integer()) fail(ExitCode::kBadInput, "{}: '{}' has no id", added_path.string(), content);
      const std::vector<AddedToken> all = special.in_order();
      const bool is_special =
          std::any_of(all.begin(), all.end(), [&](const auto& token) { return token.content == content; });
      by_id[id.get<int64_t>()] = {.content = content, .special = is_special, .normalized = !is_special};
    }
    for (const auto& [id, token] : file_tokens) by_id[id] = token;
  }
  out.tokens_to_add = tokens_to_add(by_id, special, file_tokens);
  for (const auto& [key, token] : special.named) out.named_tokens[key] = token.content;
  return out;
}

}  // namespace evalmpi::text

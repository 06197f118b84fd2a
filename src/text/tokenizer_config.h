#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "added_tokens.h"
#include "evalmpi/base/json.h"
#include "evalmpi/text/tokenizer.h"

namespace evalmpi::text {

// What transformers 4.57.6 takes from the files beside tokenizer.json: the class of the tokenizer and its arguments.
struct TokenizerConfig {
  std::string class_name;          // "LlamaTokenizerFast"
  bool rewrites_template = false;  // the class puts its own template of BOS and EOS in place of the post-processor
  bool add_bos_token = false;
  bool add_eos_token = false;
  bool add_prefix_space = false;
  bool clean_up_spaces = false;
  std::map<std::string, std::string> named_tokens;  // "bos_token" -> "<s>", only those that are set
  std::vector<AddedToken> tokens_to_add;            // in the order in which they get ids
};

// Reads tokenizer_config.json, special_tokens_map.json, added_tokens.json and, for the class, config.json, each if it
// is there. `file_tokens`: added tokens of tokenizer.json with the ids given there. FAILS: kBadInput naming the file
// and key.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder,
                                      const std::map<int64_t, AddedToken>& file_tokens,
                                      const TokenizerOptions& options);

// What decides how a folder without tokenizer.json is converted: arguments of the slow tokenizer's class.
struct SlowTokenizer {
  std::string class_name;  // as in TokenizerConfig
  bool legacy = true;
  std::optional<bool> add_prefix_space;  // nullopt where the configuration says nothing or null
  bool add_bos_token = false;
  std::string bos_token;
  std::string eos_token;
  std::string pad_token;
};

// FAILS: as read_tokenizer_config.
SlowTokenizer read_slow_tokenizer(const std::filesystem::path& folder);

// One entry of added_tokens. FAILS: kBadInput.
AddedToken read_added_token(const Json& json, const std::string& where);

}  // namespace evalmpi::text

#pragma once

// Tokenizers as Hugging Face's `tokenizers` and `transformers` define them: the files tokenizer.json,
// tokenizer_config.json and special_tokens_map.json of a model folder, the same ids and the same texts.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/hash.h"

namespace evalmpi::text {

struct TokenizerOptions {
  // Overrides add_bos_token of tokenizer_config.json, for classes that honour it (Llama, GPT-NeoX, Gemma, Cohere), as
  // AutoTokenizer.from_pretrained(add_bos_token=...) does.
  std::optional<bool> add_bos_token = {};
};

// One tokenizer; immutable, so all functions may be called from any number of threads at once. Cheap to copy: copies
// share it.
//
// Reads tokenizer.json; without it a SentencePiece tokenizer.model (Llama, Gemma) or vocab.json with merges.txt (GPT-2,
// Qwen2), converted as transformers converts them. Components, by the names of tokenizer.json:
//   model           BPE Unigram WordPiece WordLevel
//   normalizer      NFC NFD NFKC NFKD Lowercase Replace Prepend Strip StripAccents BertNormalizer Precompiled Nmt
//                   ByteLevel Sequence
//   pre_tokenizer   ByteLevel Split Digits Metaspace Punctuation Whitespace WhitespaceSplit BertPreTokenizer
//                   CharDelimiterSplit FixedLength Sequence
//   post_processor  ByteLevel TemplateProcessing BertProcessing RobertaProcessing Sequence
//   decoder         ByteLevel Replace ByteFallback Fuse Strip Metaspace WordPiece BPEDecoder Sequence
// What transformers 4.57.6 adds is applied too: tokens named in tokenizer_config.json but absent from tokenizer.json,
// add_prefix_space, the class's own template for BOS and EOS, clean_up_tokenization_spaces.
class Tokenizer {
 public:
  // FAILS: kMissingInput without any of these files; kBadInput naming the file and place on anything damaged (unknown
  // component, merge of an unknown token, an id twice or out of range).
  static Tokenizer load(const std::filesystem::path& model_folder, const TokenizerOptions& options = {});

  // The ids of a text; bytes that are not UTF-8 count as U+FFFD. With `add_special_tokens` the post-processor's tokens
  // (BOS) are added. Special tokens spelled out in the text become their ids, as in the reference.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const;

  // The text of ids; ids without a token are skipped. Always valid UTF-8.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> pad_id() const;
  // The texts of these tokens as chat templates see them; empty where there is none.
  const std::string& bos_token() const;
  const std::string& eos_token() const;
  const std::string& pad_token() const;
  const std::string& unk_token() const;
  // All that are set, by the names of tokenizer_config.json ("bos_token" to "mask_token").
  const std::map<std::string, std::string>& named_tokens() const;

  // The vocabulary's own spelling of a token ("Ġthe"); empty for an id without one.
  std::string token_text(int32_t id) const;
  std::optional<int32_t> token_id(std::string_view token) const;
  bool is_special(int32_t id) const;
  // The number of tokens with the added ones: len(tokenizer).
  int64_t size() const;
  // Whether encode(text, true) differs from encode(text, false).
  bool adds_special_tokens() const;

  // Of everything that decides ids and texts. Equal for equal files on every machine.
  Hash128 digest() const;

  struct Impl;

 private:
  friend class TextStream;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

// How lm-evaluation-harness 0.4.13's HFLM adds special tokens to prompts of a causal model.
struct PromptRule {
  std::optional<bool> add_bos_token = {};       // --model_args add_bos_token=...; give it to TokenizerOptions too
  std::optional<int32_t> prefix_token_id = {};  // --model_args prefix_token_id=...
};

// What an empty context is conditioned on: the given id, else BOS, else EOS. nullopt if there is none.
std::optional<int32_t> prefix_token_id(const Tokenizer& tokenizer, const PromptRule& rule);

// HFLM.tok_encode, for log-likelihoods: special tokens as add_bos_token says (default: yes), but none when the text
// starts with the prefix token's text, as rendered chat templates do.
std::vector<int32_t> encode_scored(const Tokenizer& tokenizer, std::string_view text, const PromptRule& rule);

// HFLM.tok_batch_encode, for generation: the same rule with the text of BOS itself.
std::vector<int32_t> encode_generation_prompt(const Tokenizer& tokenizer, std::string_view text,
                                              const PromptRule& rule);

}  // namespace evalmpi::text

#pragma once

#include <string>
#include <string_view>

#include "tokenizer_file.h"

namespace evalmpi::text {

// What transformers' slow-to-fast conversion of a SentencePiece model depends on besides the model.
struct SentencePieceRule {
  bool gemma = false;            // GemmaConverter; else LlamaConverter
  bool legacy = true;            // LlamaTokenizer(legacy=...)
  bool add_prefix_space = true;  // LlamaTokenizer(add_prefix_space=...)
  std::string first_tokens[3];   // Gemma: pad, eos, bos take the first three ids, whatever the file calls them
};

// tokenizer.model, a SentencePiece model of type BPE or Unigram, as the tokenizer.json that transformers 4.57.6's
// convert_slow_tokenizer makes of it. FAILS: kBadInput naming `where` on anything damaged, on other types and on files
// that are no SentencePiece model.
TokenizerFile parse_sentencepiece_file(std::string_view bytes, const std::string& where, const SentencePieceRule& rule);

}  // namespace evalmpi::text

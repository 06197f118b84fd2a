#pragma once

#include <filesystem>
#include <string>

#include "tokenizer_file.h"

namespace evalmpi::text {

// The file that a model folder's tokenizer is read from, and what it holds.
struct TokenizerSource {
  std::filesystem::path path;
  std::string bytes;  // everything that decides `file`
  TokenizerFile file;
};

// Chooses as transformers 4.57.6 does: tokenizer.json; without it (or where a Llama tokenizer's configuration sets
// add_prefix_space) tokenizer.model of SentencePiece, or vocab.json with merges.txt, converted as
// convert_slow_tokenizer does. FAILS: kMissingInput when there is none of them; kBadInput naming the file.
TokenizerSource read_tokenizer_source(const std::filesystem::path& folder);

}  // namespace evalmpi::text

#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "added_tokens.h"
#include "decoder.h"
#include "evalmpi/text/tokenizer.h"
#include "model.h"
#include "normalizer.h"
#include "piece_cache.h"
#include "post_processor.h"
#include "pre_tokenizer.h"

namespace evalmpi::text {

// What a thread keeps for one tokenizer: its cache, and the output of each step of the pre-tokenizer.
struct EncodeScratch {
  PieceCache cache;
  std::deque<Pieces> of_step;
};

struct Tokenizer::Impl {
  explicit Impl(ModelFile model_file, const std::string& where) : model(std::move(model_file), where) {}

  Model model;
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  PostProcessor post_processor;
  Decoder decoder;
  bool clean_up_spaces = false;
  std::map<std::string, std::string> named_tokens;
  Hash128 digest;
  uint64_t instance = 0;                 // unique in this process; keys the threads' caches
  std::vector<std::string> token_bytes;  // by id, when the decoder is ByteLevel alone

  std::optional<int32_t> id_of(std::string_view token) const;
  std::string_view token(int32_t id) const;
  int32_t end_id() const;
  const std::string& named_token(const char* key) const;
  std::optional<int32_t> named_id(const char* key) const;
  // Whether decode(skip_special_tokens) leaves the id out.
  bool skips(int32_t id, bool skip_special_tokens) const;

  // Takes a piece from before the pre-tokenizer's step `step` (step_count(): a word) to ids.
  void encode_piece(const Piece& piece, size_t step, EncodeScratch* scratch, std::vector<int32_t>* ids) const;
  void encode_word(std::string_view word, std::vector<int32_t>* ids) const;
  void encode_text(std::string_view text, bool at_start, std::vector<int32_t>* ids) const;
};

}  // namespace evalmpi::text

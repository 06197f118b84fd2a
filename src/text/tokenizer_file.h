#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "evalmpi/base/json.h"
#include "vocabulary.h"

namespace evalmpi::text {

// tokenizer.json, with the two long parts of its model as plain lists and the rest as JSON.
struct TokenizerFile {
  Json rest;  // without model.vocab and model.merges
  ModelFile model;
};

// FAILS: kBadInput naming `where` on a syntax error, nesting deeper than 64, no "model", a vocabulary or merges of
// another form, more than 4,194,304 tokens or 16,777,216 merges.
TokenizerFile parse_tokenizer_file(std::string_view text, const std::string& where);

}  // namespace evalmpi::text

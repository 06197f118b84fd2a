#pragma once

// The token sequences with which two models are compared.

#include <filesystem>
#include <string>
#include <vector>

#include "evalmpi/model/compare_models.h"

namespace evalmpi::cli {

// The same ids for both models: of the prompts in a .txt file (one a line) or a .jsonl file (texts, objects with
// "prompt", "text" or "ids", lists of ids), texts by A's tokenizer; of built-in sequences where there is no file.
// FAILS: kMissingInput, kBadInput with file and line.
std::vector<model::TokenSequence> sequences_of(const std::filesystem::path& a, const std::filesystem::path& b,
                                               const std::string& prompt_file);

}  // namespace evalmpi::cli

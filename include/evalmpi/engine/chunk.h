#pragma once

// Chunks: the unit of scheduling and of logging. A chunk carries all that a replica needs, so workers hold no table
// of requests; it is made of whole branches of the token trie below one trunk (the shared ancestors).

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "evalmpi/engine/request.h"

namespace evalmpi::engine {

struct ScoreChunk {
  // One answer: the path that ends with node `node` (-1: with the trunk) has `length` input tokens; the last
  // `targets` of these positions are asked for the token that follows, the last of them for `last_target`. No
  // target row lies in the trunk, so a replica that holds the trunk's keys and values need not compute it.
  struct Request {
    Hash128 key;
    int32_t node = -1;
    int32_t length = 0;
    int32_t targets = 0;
    int32_t last_target = 0;
  };
  std::vector<int32_t> trunk;
  // Nodes in depth-first order: node i continues node parent[i] (-1: the trunk) with tokens
  // [token_begin[i], token_begin[i + 1]).
  std::vector<int32_t> parent;
  std::vector<int32_t> token_begin;  // one more than there are nodes
  std::vector<int32_t> tokens;
  std::vector<Request> requests;
};

// Prompts that share `trunk`, sorted by content, so that no earlier one shares more with a prompt than the one before
// it. Run in order, in at most `slots` slots at a time.
struct GenerateChunk {
  GenerationSettings settings;
  int32_t slots = 1;
  std::vector<int32_t> trunk;             // shorter than every prompt
  std::vector<GenerateRequest> requests;  // whole prompts; a message holds what each adds to the one before
};

using Chunk = std::variant<ScoreChunk, GenerateChunk>;

std::string encode(const Chunk& chunk);

// FAILS: kBadInput when the bytes are not a well-formed chunk (indices out of range, lengths that do not add up).
Chunk decode_chunk(std::string_view bytes);

// What a replica found for one chunk.
struct ChunkRecord {
  Hash128 numerics_class;
  // Input rows that went through the layers: the trunk where it was not held, not new tokens.
  int64_t computed_tokens = 0;
  std::vector<ScoreResult> scores;
  std::vector<GenerateResult> generations;
};

std::string encode(const ChunkRecord& record);

// FAILS: kBadInput.
ChunkRecord decode_record(std::string_view bytes);

}  // namespace evalmpi::engine

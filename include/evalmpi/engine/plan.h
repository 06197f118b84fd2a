#pragma once

// From requests to chunks, by way of the token trie: every distinct prefix of a task becomes one run of tokens.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "evalmpi/engine/request.h"

namespace evalmpi::engine {

struct PlannedChunk {
  // Makes the encoded Chunk. Until then a plan holds the tokens of its requests once and little besides; all chunks of
  // a plan share them.
  std::function<std::string()> payload;
  Hash128 prefix;            // hash of the trunk's tokens; equal for chunks that share it, zero without a trunk
  int64_t cost_tokens = 0;   // rows of the trunk and the branches, and tokens to generate
  int64_t trunk_tokens = 0;  // of these, what a replica that holds the trunk need not compute
};

struct Plan {
  std::vector<PlannedChunk> chunks;
  int64_t naive_tokens = 0;     // input tokens if every request were computed alone
  int64_t distinct_tokens = 0;  // nodes of the trie: the least that can be computed
  // Distinct tokens and the trunk rows that chunks share, each trunk counted once a trie node.
  int64_t planned_tokens = 0;
};

// Merges the requests by common prefix and cuts the trie into chunks of at most token_budget tokens besides the trunk,
// unless a single branch is longer. Deterministic. Keys must be distinct.
Plan plan_scores(ScoreTable requests, int64_t token_budget);

// The same for a few requests; copies their tokens.
Plan plan_scores(std::span<const ScoreRequest> requests, int64_t token_budget);

// The nodes of the requests' trie alone: Plan::distinct_tokens.
int64_t count_distinct_tokens(const ScoreTable& requests);

// Sorts the prompts, so that those that share most stand together, and cuts the list into chunks where neighbours share
// least. A chunk has about four times `slots` prompts and, besides what they share, token_budget times `slots` tokens
// at most (a single prompt may have more); towards the end of the list chunks become smaller, down to about eight
// prompts, or `slots` where at least a third of all tokens are new ones.
Plan plan_generations(std::span<const GenerateRequest> requests, const GenerationSettings& settings, int32_t slots,
                      int64_t token_budget);

}  // namespace evalmpi::engine

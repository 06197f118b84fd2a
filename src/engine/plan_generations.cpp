// Prompts to chunks of generations.

#include <algorithm>
#include <set>

#include "evalmpi/engine/chunk.h"
#include "evalmpi/engine/plan.h"
#include "trie.h"

namespace evalmpi::engine {
namespace {

using Sequence = std::span<const int32_t>;

Hash128 trunk_hash(Sequence trunk) { return trunk.empty() ? Hash128{} : hash128(std::as_bytes(trunk)); }

int64_t shared_with(Sequence a, Sequence b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

Plan plan_generations(std::span<const GenerateRequest> requests, const GenerationSettings& settings, int32_t slots,
                      int64_t token_budget) {
  std::vector<Sequence> prompts;
  for (const GenerateRequest& request : requests) prompts.emplace_back(request.prompt);
  const Trie trie = build_trie(prompts);
  Plan plan;
  plan.distinct_tokens = trie.distinct_tokens;
  std::set<Hash128> trunks;
  const size_t most_prompts = static_cast<size_t>(slots) * 4;
  for (size_t begin = 0; begin < trie.order.size();) {
    GenerateChunk chunk{settings, slots, {}, {}};
    int64_t tokens = 0;
    while (begin < trie.order.size() && chunk.requests.size() < most_prompts) {
      const GenerateRequest& request = requests[trie.order[begin]];
      const auto more = static_cast<int64_t>(request.prompt.size()) + request.max_new_tokens;
      if (!chunk.requests.empty() && tokens + more > token_budget * slots) break;
      tokens += more;
      plan.naive_tokens += static_cast<int64_t>(request.prompt.size());
      chunk.requests.push_back(request);
      ++begin;
    }
    // Sorted prompts: what the first and the last share, all share. One token of each stays its own: its row
    // gives the first new token.
    const Sequence first = chunk.requests.front().prompt;
    int64_t trunk_tokens = shared_with(first, chunk.requests.back().prompt);
    int64_t own_tokens = 0;
    for (const GenerateRequest& request : chunk.requests) {
      trunk_tokens = std::min(trunk_tokens, static_cast<int64_t>(request.prompt.size()) - 1);
    }
    for (const GenerateRequest& request : chunk.requests) {
      own_tokens += static_cast<int64_t>(request.prompt.size()) - trunk_tokens;
    }
    chunk.trunk.assign(first.begin(), first.begin() + trunk_tokens);
    PlannedChunk planned;
    planned.prefix = trunk_hash(chunk.trunk);
    planned.cost_tokens = tokens;
    planned.trunk_tokens = trunk_tokens;
    plan.planned_tokens += own_tokens + (trunks.insert(planned.prefix).second ? trunk_tokens : 0);
    planned.payload = [bytes = encode(Chunk(std::move(chunk)))] { return bytes; };
    plan.chunks.push_back(std::move(planned));
  }
  return plan;
}

}  // namespace evalmpi::engine

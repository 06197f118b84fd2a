// Prompts to chunks of generations.

#include <algorithm>

#include "evalmpi/engine/chunk.h"
#include "evalmpi/engine/plan.h"
#include "trie.h"

namespace evalmpi::engine {
namespace {

using Sequence = std::span<const int32_t>;

// Chunks become smaller towards the end, so that the lanes end together: each takes this part of what is left.
constexpr size_t kPartOfTheRest = 8;
// Fewer prompts than this would leave too few rows in a step; a short list of long prompts is still cut in two.
constexpr size_t kFewestPrompts = 8;
// Where new tokens are at least this part of all, steps are what takes the time, and a step of few rows takes as long
// as the weights take to be read: as many prompts as there are slots then stay together. The lanes without a chunk lend
// their cores.
constexpr int64_t kMostlyNew = 3;
// A border moves to save so many tokens; for fewer, equal chunks are worth more.
constexpr int64_t kWorthMoving = 8;
// A shorter run is no trunk: computing it again costs less than a prefix of its own, which other workers would not
// hold.
constexpr int32_t kShortestTrunkRun = 64;

int64_t shared_with(Sequence a, Sequence b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

class GenerationPlanner {
 public:
  GenerationPlanner(std::span<const GenerateRequest> requests, const GenerationSettings& settings, int32_t slots,
                    int64_t token_limit)
      : requests_(requests),
        settings_(settings),
        slots_(slots),
        token_limit_(token_limit),
        trie_(build_trie(prompts(requests))),
        fewest_(fewest_prompts(requests, slots, trie_.distinct_tokens)),
        is_counted_(trie_.nodes.size(), false),
        node_of_rank_(trie_.order.size(), -1) {
    for (size_t node = 0; node < trie_.nodes.size(); ++node) {
      const TrieNode& ended = trie_.nodes[node];
      std::fill(node_of_rank_.begin() + ended.first_sequence, node_of_rank_.begin() + ended.ending_sequence,
                static_cast<int32_t>(node));
    }
  }

  Plan run() {
    plan_.distinct_tokens = trie_.distinct_tokens;
    for (size_t begin = 0; begin < trie_.order.size();) {
      const size_t end = chunk_end(begin);
      emit(begin, end);
      begin = end;
    }
    return std::move(plan_);
  }

 private:
  static std::vector<Sequence> prompts(std::span<const GenerateRequest> requests) {
    std::vector<Sequence> prompts;
    prompts.reserve(requests.size());
    for (const GenerateRequest& request : requests) prompts.emplace_back(request.prompt);
    return prompts;
  }

  static size_t fewest_prompts(std::span<const GenerateRequest> requests, int32_t slots, int64_t distinct_tokens) {
    int64_t new_tokens = 0;
    for (const GenerateRequest& request : requests) new_tokens += request.max_new_tokens;
    if (new_tokens * kMostlyNew >= distinct_tokens + new_tokens) return static_cast<size_t>(slots);
    return std::clamp<size_t>((requests.size() + 1) / 2, 1, kFewestPrompts);
  }

  const GenerateRequest& request_at(size_t rank) const { return requests_[trie_.order[rank]]; }
  int64_t shared_with_previous(size_t rank) const {
    return shared_with(request_at(rank - 1).prompt, request_at(rank).prompt);
  }

  // Where the chunk that begins at `begin` ends: within a quarter of the wanted size, where neighbours share least.
  size_t chunk_end(size_t begin) const {
    const size_t rest = trie_.order.size() - begin;
    const size_t most = std::clamp(rest / kPartOfTheRest, fewest_, std::max(fewest_, static_cast<size_t>(slots_) * 4));
    size_t end = begin;
    int64_t tokens = 0;
    for (; end < trie_.order.size() && end - begin < most; ++end) {
      const auto prompt = static_cast<int64_t>(request_at(end).prompt.size());
      tokens += request_at(end).max_new_tokens + (end == begin ? prompt : prompt - shared_with_previous(end));
      if (end > begin && tokens > token_limit_) break;
    }
    if (end == trie_.order.size()) return end;
    const size_t slack = (end - begin) / 4;
    size_t best = end;
    int64_t least_shared = shared_with_previous(end);
    const auto consider = [&](size_t i) {
      const int64_t shared = i < trie_.order.size() ? shared_with_previous(i) : 0;
      if (shared + kWorthMoving > least_shared) return;
      least_shared = shared;
      best = i;
    };
    for (size_t i = 1; i <= slack; ++i) {
      consider(end - i);
      if (end + i <= trie_.order.size()) consider(end + i);
    }
    return best;
  }

  // The deepest trie node that holds the whole chunk and prompts of other chunks, and whose run is long; -1: none.
  int32_t trunk_node(size_t begin, size_t end) const {
    for (int32_t i = node_of_rank_[begin]; i >= 0; i = trie_.nodes[i].parent) {
      const TrieNode& node = trie_.nodes[i];
      if (static_cast<size_t>(node.last_sequence) < end || node.end - node.start < kShortestTrunkRun) continue;
      if (static_cast<size_t>(node.first_sequence) < begin || static_cast<size_t>(node.last_sequence) > end) return i;
    }
    return -1;
  }

  void emit(size_t begin, size_t end) {
    GenerateChunk chunk{settings_, slots_, {}, {}};
    const int32_t above = trunk_node(begin, end);
    // One token of each prompt stays its own: its row gives the first new token.
    size_t trunk_tokens = above < 0 ? 0 : static_cast<size_t>(trie_.nodes[above].end);
    for (size_t rank = begin; rank < end; ++rank)
      trunk_tokens = std::min(trunk_tokens, request_at(rank).prompt.size() - 1);
    const std::vector<int32_t>& first = request_at(begin).prompt;
    chunk.trunk.assign(first.begin(), first.begin() + static_cast<int64_t>(trunk_tokens));
    PlannedChunk planned;
    for (size_t rank = begin; rank < end; ++rank) {
      const GenerateRequest& request = request_at(rank);
      const auto prompt = static_cast<int64_t>(request.prompt.size());
      const int64_t own = prompt - (rank == begin ? static_cast<int64_t>(trunk_tokens) : shared_with_previous(rank));
      plan_.naive_tokens += prompt;
      plan_.planned_tokens += own;
      planned.cost_tokens += own + request.max_new_tokens;
      chunk.requests.push_back(request);
    }
    count_trunk(above, static_cast<int32_t>(trunk_tokens));
    planned.prefix = chunk.trunk.empty() ? Hash128{} : hash128(std::as_bytes(std::span(chunk.trunk)));
    planned.trunk_tokens = static_cast<int64_t>(trunk_tokens);
    planned.cost_tokens += planned.trunk_tokens;
    planned.payload = [bytes = encode(Chunk(std::move(chunk)))] { return bytes; };
    plan_.chunks.push_back(std::move(planned));
  }

  // Counts the trunk's rows [0, end) where no earlier trunk has covered them.
  void count_trunk(int32_t above, int32_t end) {
    for (int32_t i = above; i >= 0 && !is_counted_[i]; i = trie_.nodes[i].parent) {
      plan_.planned_tokens += std::max(0, std::min(trie_.nodes[i].end, end) - trie_.nodes[i].start);
      is_counted_[i] = true;
    }
  }

  std::span<const GenerateRequest> requests_;
  const GenerationSettings& settings_;
  int32_t slots_;
  int64_t token_limit_;
  Trie trie_;
  size_t fewest_;                      // prompts of a chunk, while there are so many
  std::vector<bool> is_counted_;       // trie nodes that a trunk has covered
  std::vector<int32_t> node_of_rank_;  // where each sorted prompt ends
  Plan plan_;
};

}  // namespace

Plan plan_generations(std::span<const GenerateRequest> requests, const GenerationSettings& settings, int32_t slots,
                      int64_t token_budget) {
  return GenerationPlanner(requests, settings, slots, token_budget * slots).run();
}

}  // namespace evalmpi::engine

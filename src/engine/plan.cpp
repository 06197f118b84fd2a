#include "evalmpi/engine/plan.h"

#include <algorithm>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/engine/chunk.h"
#include "trie.h"

namespace evalmpi::engine {
namespace {

using Sequence = std::span<const int32_t>;

Hash128 trunk_hash(Sequence trunk) { return trunk.empty() ? Hash128{} : hash128(std::as_bytes(trunk)); }

// Cuts the trie of score requests into chunks.
class ScorePlanner {
 public:
  ScorePlanner(std::span<const ScoreRequest> requests, int64_t token_budget)
      : requests_(requests), token_budget_(token_budget) {
    std::vector<Sequence> inputs;
    inputs.reserve(requests.size());
    for (const ScoreRequest& request : requests) {
      EVALMPI_CHECK(request.targets >= 1 && request.targets < static_cast<int32_t>(request.tokens.size()));
      inputs.push_back(Sequence(request.tokens).first(request.tokens.size() - 1));
      plan_.naive_tokens += static_cast<int64_t>(inputs.back().size());
    }
    trie_ = build_trie(inputs);
    plan_.distinct_tokens = trie_.distinct_tokens;
  }

  Plan run() {
    // Nodes whose branches do not fit one chunk, each handled after its parent; -1 is the empty prefix.
    std::vector<int32_t> too_large{-1};
    while (!too_large.empty()) {
      const int32_t node = too_large.back();
      too_large.pop_back();
      pack_children(node, too_large);
    }
    return std::move(plan_);
  }

 private:
  const TrieNode& node(int32_t index) const { return trie_.nodes[index]; }
  int32_t end_of(int32_t index) const { return index < 0 ? 0 : node(index).end; }
  const ScoreRequest& request_at(int32_t rank) const { return requests_[trie_.order[rank]]; }

  // Fills chunks with the whole branches below `above`, in order; a branch over the budget that forks becomes a
  // trunk of its own.
  void pack_children(int32_t above, std::vector<int32_t>& too_large) {
    const int32_t last = above < 0 ? static_cast<int32_t>(trie_.nodes.size()) : node(above).subtree_end;
    std::vector<int32_t> branches;
    int64_t branch_tokens = 0;
    bool own_requests = above >= 0 && node(above).ending_sequence > node(above).first_sequence;
    const auto flush = [&] {
      if (branches.empty() && !own_requests) return;
      emit(above, branches, own_requests);
      own_requests = false;
      branches.clear();
      branch_tokens = 0;
    };
    for (int32_t child = above + 1; child < last; child = node(child).subtree_end) {
      const bool forks = node(child).subtree_end > child + 1;
      if (node(child).subtree_tokens > token_budget_ && forks) {
        too_large.push_back(child);
        continue;
      }
      if (branch_tokens + node(child).subtree_tokens > token_budget_) flush();
      branches.push_back(child);
      branch_tokens += node(child).subtree_tokens;
    }
    flush();
  }

  // One chunk: the path down to `above` as trunk (as far as no target lies in it) and the given branches.
  void emit(int32_t above, std::span<const int32_t> branches, bool own_requests) {
    ScoreChunk chunk;
    int32_t first_target = end_of(above);
    const auto lower_first_target = [&](int32_t first_rank, int32_t last_rank) {
      for (int32_t rank = first_rank; rank < last_rank; ++rank) {
        const ScoreRequest& request = request_at(rank);
        first_target = std::min(first_target, static_cast<int32_t>(request.tokens.size()) - 1 - request.targets);
      }
    };
    if (own_requests) lower_first_target(node(above).first_sequence, node(above).ending_sequence);
    for (const int32_t branch : branches) lower_first_target(node(branch).first_sequence, node(branch).last_sequence);

    if (above >= 0) {
      const Sequence path = Sequence(request_at(node(above).first_sequence).tokens).first(node(above).end);
      chunk.trunk.assign(path.begin(), path.begin() + first_target);
      add_node(chunk, -1, path.subspan(first_target));
    }
    chunk.token_begin.insert(chunk.token_begin.begin(), 0);
    if (own_requests) add_requests(chunk, above, static_cast<int32_t>(chunk.parent.size()) - 1);
    const int32_t root = static_cast<int32_t>(chunk.parent.size()) - 1;
    for (const int32_t branch : branches) add_branch(chunk, branch, root);
    finish(std::move(chunk));
  }

  static void add_node(ScoreChunk& chunk, int32_t parent, Sequence tokens) {
    if (tokens.empty()) return;
    chunk.parent.push_back(parent);
    chunk.tokens.insert(chunk.tokens.end(), tokens.begin(), tokens.end());
    chunk.token_begin.push_back(static_cast<int32_t>(chunk.tokens.size()));
  }

  void add_requests(ScoreChunk& chunk, int32_t trie_node, int32_t chunk_node) const {
    for (int32_t rank = node(trie_node).first_sequence; rank < node(trie_node).ending_sequence; ++rank) {
      const ScoreRequest& request = request_at(rank);
      chunk.requests.push_back({request.key, chunk_node, static_cast<int32_t>(request.tokens.size()) - 1, request.targets,
                                request.tokens.back()});
    }
  }

  void add_branch(ScoreChunk& chunk, int32_t branch, int32_t root) const {
    const int32_t offset = static_cast<int32_t>(chunk.parent.size()) - branch;
    for (int32_t i = branch; i < node(branch).subtree_end; ++i) {
      const Sequence path = request_at(node(i).first_sequence).tokens;
      add_node(chunk, i == branch ? root : node(i).parent + offset,
               path.subspan(node(i).start, node(i).end - node(i).start));
      add_requests(chunk, i, i + offset);
    }
  }

  void finish(ScoreChunk chunk) {
    PlannedChunk planned;
    planned.prefix = trunk_hash(chunk.trunk);
    planned.cost_tokens = static_cast<int64_t>(chunk.trunk.size() + chunk.tokens.size());
    plan_.planned_tokens += static_cast<int64_t>(chunk.tokens.size());
    if (!chunk.trunk.empty() && trunks_.insert(planned.prefix).second) {
      plan_.planned_tokens += static_cast<int64_t>(chunk.trunk.size());
    }
    planned.payload = encode(Chunk(std::move(chunk)));
    plan_.chunks.push_back(std::move(planned));
  }

  std::span<const ScoreRequest> requests_;
  int64_t token_budget_;
  Trie trie_;
  std::set<Hash128> trunks_;
  Plan plan_;
};

int64_t shared_with(Sequence a, Sequence b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

Plan plan_scores(std::span<const ScoreRequest> requests, int64_t token_budget) {
  return ScorePlanner(requests, token_budget).run();
}

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
    plan.planned_tokens += own_tokens + (trunks.insert(planned.prefix).second ? trunk_tokens : 0);
    planned.payload = encode(Chunk(std::move(chunk)));
    plan.chunks.push_back(std::move(planned));
  }
  return plan;
}

}  // namespace evalmpi::engine

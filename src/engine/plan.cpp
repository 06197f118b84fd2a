#include "evalmpi/engine/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/engine/chunk.h"
#include "trie.h"

namespace evalmpi::engine {
namespace {

using Sequence = std::span<const int32_t>;

Hash128 trunk_hash(Sequence trunk) { return trunk.empty() ? Hash128{} : hash128(std::as_bytes(trunk)); }

// A fork whose run is at most this share of the budget is repeated rather than made a trunk.
constexpr int64_t kForkShare = 16;

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
    counted_.resize(trie_.nodes.size());
  }

  Plan run() {
    // Nodes whose branches do not fit one chunk and whose own run is worth keeping, each handled after its parent; -1 is
    // the empty prefix.
    std::vector<int32_t> trunks{-1};
    while (!trunks.empty()) {
      const int32_t above = trunks.back();
      trunks.pop_back();
      std::vector<Branch> branches;
      if (above >= 0 && has_own_requests(above)) branches.push_back({above, {}, false});
      std::vector<int32_t> forks;
      collect_branches(above, forks, 0, branches, trunks);
      pack(above, branches);
    }
    return std::move(plan_);
  }

 private:
  // What is never split over chunks: a node with its whole subtree, or only with the requests that end at it. `forks` are
  // the nodes between the trunk and it, whose short runs every chunk that needs them repeats.
  struct Branch {
    int32_t node = 0;
    std::vector<int32_t> forks;
    bool is_whole = true;
  };

  const TrieNode& node(int32_t index) const { return trie_.nodes[index]; }
  int32_t end_of(int32_t index) const { return index < 0 ? 0 : node(index).end; }
  int64_t run_of(int32_t index) const { return node(index).end - node(index).start; }
  bool has_own_requests(int32_t index) const { return node(index).ending_sequence > node(index).first_sequence; }
  const ScoreRequest& request_at(int32_t rank) const { return requests_[trie_.order[rank]]; }

  // The branches below `above`, in depth-first order. A subtree over the budget becomes a trunk of its own, unless its run
  // is so short that repeating it costs less than a prefix of its own would (other workers would have to compute it).
  void collect_branches(int32_t above, std::vector<int32_t>& forks, int64_t fork_tokens, std::vector<Branch>& branches,
                        std::vector<int32_t>& trunks) {
    const int32_t last = above < 0 ? static_cast<int32_t>(trie_.nodes.size()) : node(above).subtree_end;
    for (int32_t child = above + 1; child < last; child = node(child).subtree_end) {
      const bool is_leaf = node(child).subtree_end == child + 1;
      if (node(child).subtree_tokens <= token_budget_ || is_leaf) {
        branches.push_back({child, forks, true});
      } else if (fork_tokens + run_of(child) <= token_budget_ / kForkShare) {
        if (has_own_requests(child)) branches.push_back({child, forks, false});
        forks.push_back(child);
        collect_branches(child, forks, fork_tokens + run_of(child), branches, trunks);
        forks.pop_back();
      } else {
        trunks.push_back(child);
      }
    }
  }

  // Fills chunks with branches, in order.
  void pack(int32_t above, std::span<const Branch> branches) {
    size_t first = 0;
    int64_t tokens = 0;
    std::set<int32_t> forks;
    for (size_t i = 0; i < branches.size(); ++i) {
      const Branch& branch = branches[i];
      const int64_t own = branch.is_whole ? node(branch.node).subtree_tokens : run_of(branch.node);
      int64_t more = own;
      for (const int32_t fork : branch.forks) more += forks.contains(fork) ? 0 : run_of(fork);
      if (i > first && tokens + more > token_budget_) {
        emit(above, branches.subspan(first, i - first));
        first = i;
        tokens = 0;
        forks.clear();
        more = own;
        for (const int32_t fork : branch.forks) more += run_of(fork);
      }
      tokens += more;
      forks.insert(branch.forks.begin(), branch.forks.end());
      if (!branch.is_whole) forks.insert(branch.node);
    }
    if (first < branches.size()) emit(above, branches.subspan(first));
  }

  // One chunk: the path down to `above` as trunk (as far as no target lies in it) and the given branches.
  void emit(int32_t above, std::span<const Branch> branches) {
    ScoreChunk chunk;
    int32_t first_target = end_of(above);
    for (const Branch& branch : branches) {
      const int32_t last_rank = branch.is_whole ? node(branch.node).last_sequence : node(branch.node).ending_sequence;
      for (int32_t rank = node(branch.node).first_sequence; rank < last_rank; ++rank) {
        const ScoreRequest& request = request_at(rank);
        first_target = std::min(first_target, static_cast<int32_t>(request.tokens.size()) - 1 - request.targets);
      }
    }
    chunk.token_begin.push_back(0);
    std::map<int32_t, int32_t> chunk_node;  // of trie nodes that stand alone
    if (above >= 0) {
      const Sequence path = Sequence(request_at(node(above).first_sequence).tokens).first(node(above).end);
      chunk.trunk.assign(path.begin(), path.begin() + first_target);
      add_node(chunk, -1, path.subspan(first_target));
      count_trunk(above, first_target);
    }
    const int32_t root = static_cast<int32_t>(chunk.parent.size()) - 1;
    if (above >= 0) chunk_node[above] = root;
    for (const Branch& branch : branches) {
      int32_t parent = root;
      for (const int32_t fork : branch.forks) parent = add_alone(chunk, chunk_node, fork, parent);
      if (branch.is_whole) {
        add_branch(chunk, branch.node, parent);
      } else {
        add_requests(chunk, branch.node, add_alone(chunk, chunk_node, branch.node, parent));
      }
    }
    finish(std::move(chunk));
  }

  // The chunk's node for a trie node without its subtree, added when it is not there yet.
  int32_t add_alone(ScoreChunk& chunk, std::map<int32_t, int32_t>& chunk_node, int32_t trie_node, int32_t parent) const {
    const auto [found, is_new] = chunk_node.try_emplace(trie_node, static_cast<int32_t>(chunk.parent.size()));
    if (is_new) add_node(chunk, parent, run_tokens(trie_node));
    return found->second;
  }

  Sequence run_tokens(int32_t index) const {
    return Sequence(request_at(node(index).first_sequence).tokens).subspan(node(index).start, run_of(index));
  }

  // Counts the trunk's rows [0, end) where no earlier trunk has covered them.
  void count_trunk(int32_t above, int32_t end) {
    for (int32_t i = above; i >= 0 && !counted_[i]; i = node(i).parent) {
      plan_.planned_tokens += std::max(0, std::min(node(i).end, end) - node(i).start);
      counted_[i] = true;
    }
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
      add_node(chunk, i == branch ? root : node(i).parent + offset, run_tokens(i));
      add_requests(chunk, i, i + offset);
    }
  }

  void finish(ScoreChunk chunk) {
    PlannedChunk planned;
    planned.prefix = trunk_hash(chunk.trunk);
    planned.cost_tokens = static_cast<int64_t>(chunk.trunk.size() + chunk.tokens.size());
    plan_.planned_tokens += static_cast<int64_t>(chunk.tokens.size());
    planned.payload = encode(Chunk(std::move(chunk)));
    plan_.chunks.push_back(std::move(planned));
  }

  std::span<const ScoreRequest> requests_;
  int64_t token_budget_;
  Trie trie_;
  std::vector<bool> counted_;  // trie nodes that a trunk has covered
  Plan plan_;
};

}  // namespace

Plan plan_scores(std::span<const ScoreRequest> requests, int64_t token_budget) {
  return ScorePlanner(requests, token_budget).run();
}

}  // namespace evalmpi::engine

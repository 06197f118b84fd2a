#include "evalmpi/engine/plan.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "evalmpi/base/error.h"
#include "evalmpi/engine/chunk.h"
#include "trie.h"

namespace evalmpi::engine {
namespace {

using Sequence = std::span<const int32_t>;

// A fork whose run is at most this share of the budget is repeated rather than made a trunk.
constexpr int64_t kForkShare = 16;

// The last chunks below a trunk are smaller, so that workers that share them end at about the same time: each has at
// most this share of what is left, but not below that share of the budget.
constexpr int64_t kTailShare = 4;

Hash128 trunk_hash(Sequence trunk) { return trunk.empty() ? Hash128{} : hash128(std::as_bytes(trunk)); }

Trie trie_of_inputs(const ScoreTable& requests) {
  std::vector<Sequence> inputs;
  inputs.reserve(requests.rows.size());
  for (const ScoreTable::Row& row : requests.rows) {
    EVALMPI_CHECK(row.targets >= 1 && row.targets < row.length);
    inputs.push_back(requests.tokens_of(row).first(static_cast<size_t>(row.length) - 1));
  }
  return build_trie(inputs);
}

// What is never split over chunks: a node with its whole subtree, or only with the requests that end at it.
struct Branch {
  int32_t node = 0;
  bool is_whole = true;
};

// Consecutive branches below one trunk. Nodes between the trunk and a branch are forks: their short runs are repeated
// in every chunk that needs them.
struct Cut {
  int32_t above = -1;  // the lowest node of the trunk; -1: the empty prefix
  size_t first_branch = 0;
  size_t last_branch = 0;
  int32_t trunk_end = 0;  // tokens of the trunk; less than the node's end where a target lies in it
};

// The trie of a task's requests, cut into chunks.
class ScorePlanner {
 public:
  ScorePlanner(ScoreTable requests, int64_t token_budget)
      : requests_(std::move(requests)), token_budget_(token_budget), trie_(trie_of_inputs(requests_)) {
    // Nodes whose branches do not fit one chunk and whose own run is worth keeping, each handled after its parent; -1
    // is the empty prefix.
    std::vector<int32_t> trunks{-1};
    while (!trunks.empty()) {
      const int32_t above = trunks.back();
      trunks.pop_back();
      const size_t first = branches_.size();
      if (above >= 0 && has_own_requests(above)) branches_.push_back({above, false});
      collect_branches(above, 0, trunks);
      pack(above, first);
    }
  }

  size_t chunk_count() const { return cuts_.size(); }
  int64_t distinct_tokens() const { return trie_.distinct_tokens; }
  int64_t naive_tokens() const {
    int64_t tokens = 0;
    for (const ScoreTable::Row& row : requests_.rows) tokens += row.length - 1;
    return tokens;
  }

  Sequence trunk(size_t chunk) const {
    const Cut& cut = cuts_[chunk];
    return cut.above < 0 ? Sequence() : path(cut.above).first(static_cast<size_t>(cut.trunk_end));
  }

  // Trie nodes that lie in the trunk as a whole or in part, lowest first.
  template <class F>
  void for_each_trunk_node(size_t chunk, F visit) const {
    for (int32_t i = cuts_[chunk].above; i >= 0; i = node(i).parent) {
      visit(i, std::max(0, std::min(node(i).end, cuts_[chunk].trunk_end) - node(i).start));
    }
  }

  // Tokens of the chunk besides its trunk.
  int64_t own_tokens(size_t chunk) const {
    int64_t tokens = end_of(cuts_[chunk].above) - cuts_[chunk].trunk_end;
    std::set<int32_t> repeated;
    for (const Branch& branch : branches_of(cuts_[chunk]))
      tokens += tokens_to_add(cuts_[chunk].above, branch, repeated);
    return tokens;
  }

  ScoreChunk make_chunk(size_t chunk) const;

 private:
  const TrieNode& node(int32_t index) const { return trie_.nodes[index]; }
  int32_t end_of(int32_t index) const { return index < 0 ? 0 : node(index).end; }
  int64_t run_of(int32_t index) const { return node(index).end - node(index).start; }
  bool has_own_requests(int32_t index) const { return node(index).ending_sequence > node(index).first_sequence; }
  const ScoreTable::Row& request_at(int32_t rank) const { return requests_.rows[trie_.order[rank]]; }
  Sequence path(int32_t index) const {
    return requests_.tokens_of(request_at(node(index).first_sequence)).first(static_cast<size_t>(node(index).end));
  }
  Sequence run_tokens(int32_t index) const { return path(index).subspan(static_cast<size_t>(node(index).start)); }
  std::span<const Branch> branches_of(const Cut& cut) const {
    return std::span(branches_).subspan(cut.first_branch, cut.last_branch - cut.first_branch);
  }

  // The branches below `above`, in depth-first order. A subtree over the budget becomes a trunk of its own, unless its
  // run is so short that repeating it costs less than a prefix of its own would (other workers would have to compute
  // it).
  void collect_branches(int32_t above, int64_t fork_tokens, std::vector<int32_t>& trunks) {
    const int32_t last = above < 0 ? static_cast<int32_t>(trie_.nodes.size()) : node(above).subtree_end;
    for (int32_t child = above + 1; child < last; child = node(child).subtree_end) {
      const bool is_leaf = node(child).subtree_end == child + 1;
      if (node(child).subtree_tokens <= token_budget_ || is_leaf) {
        branches_.push_back({child, true});
      } else if (fork_tokens + run_of(child) <= token_budget_ / kForkShare) {
        if (has_own_requests(child)) branches_.push_back({child, false});
        collect_branches(child, fork_tokens + run_of(child), trunks);
      } else {
        trunks.push_back(child);
      }
    }
  }

  // The tokens that a chunk below `above` grows by with the branch; `repeated` are the nodes that stand in it alone, to
  // which those of the branch are added.
  int64_t tokens_to_add(int32_t above, const Branch& branch, std::set<int32_t>& repeated) const {
    int64_t tokens = tokens_of(branch);
    for (int32_t i = branch.is_whole ? node(branch.node).parent : branch.node; i != above; i = node(i).parent) {
      if (!repeated.insert(i).second) break;  // then its ancestors are there too
      tokens += run_of(i);
    }
    return tokens;
  }

  // Fills chunks with the branches from `first` on, in order.
  void pack(int32_t above, size_t first) {
    int64_t left = 0;  // tokens of the branches that are in no chunk yet, without what chunks repeat
    for (size_t i = first; i < branches_.size(); ++i) left += tokens_of(branches_[i]);
    int64_t tokens = 0;
    int64_t most = chunk_budget(left);
    std::set<int32_t> repeated;
    for (size_t i = first; i < branches_.size(); ++i) {
      int64_t more = tokens_to_add(above, branches_[i], repeated);
      if (i > first && tokens + more > most) {
        add_cut(above, first, i);
        first = i;
        tokens = 0;
        most = chunk_budget(left);
        repeated.clear();
        more = tokens_to_add(above, branches_[i], repeated);
      }
      tokens += more;
      left -= tokens_of(branches_[i]);
    }
    if (first < branches_.size()) add_cut(above, first, branches_.size());
  }

  int64_t tokens_of(const Branch& branch) const { return branch.is_whole ? node(branch.node).subtree_tokens : 0; }
  int64_t chunk_budget(int64_t left) const {
    return std::clamp(left / kTailShare, std::max<int64_t>(1, token_budget_ / kTailShare), token_budget_);
  }

  void add_cut(int32_t above, size_t first, size_t last) {
    Cut cut{above, first, last, end_of(above)};
    for (const Branch& branch : branches_of(cut)) {
      if (cut.trunk_end == 0) break;
      const int32_t last_rank = branch.is_whole ? node(branch.node).last_sequence : node(branch.node).ending_sequence;
      for (int32_t rank = node(branch.node).first_sequence; rank < last_rank; ++rank) {
        cut.trunk_end = std::min(cut.trunk_end, request_at(rank).length - 1 - request_at(rank).targets);
      }
    }
    cuts_.push_back(cut);
  }

  ScoreTable requests_;
  int64_t token_budget_;
  Trie trie_;
  std::vector<Branch> branches_;
  std::vector<Cut> cuts_;
};

// Builds the nodes of one chunk.
struct ChunkBuilder {
  ScoreChunk chunk{{}, {}, {0}, {}, {}};

  // Returns the node's index.
  int32_t add_node(int32_t parent, Sequence tokens) {
    chunk.parent.push_back(parent);
    chunk.tokens.insert(chunk.tokens.end(), tokens.begin(), tokens.end());
    chunk.token_begin.push_back(static_cast<int32_t>(chunk.tokens.size()));
    return static_cast<int32_t>(chunk.parent.size()) - 1;
  }
};

// The path down to `above` as trunk (as far as no target lies in it), forks and branches below it.
ScoreChunk ScorePlanner::make_chunk(size_t index) const {
  const Cut& cut = cuts_[index];
  ChunkBuilder builder;
  const Sequence trunk = this->trunk(index);
  builder.chunk.trunk.assign(trunk.begin(), trunk.end());
  int32_t root = -1;
  if (end_of(cut.above) > cut.trunk_end) root = builder.add_node(-1, path(cut.above).subspan(trunk.size()));
  const auto add_requests = [&](int32_t trie_node, int32_t chunk_node) {
    for (int32_t rank = node(trie_node).first_sequence; rank < node(trie_node).ending_sequence; ++rank) {
      const ScoreTable::Row& row = request_at(rank);
      builder.chunk.requests.push_back(
          {row.key, chunk_node, row.length - 1, row.targets, requests_.tokens_of(row).back()});
    }
  };
  std::map<int32_t, int32_t> alone;  // trie nodes without their subtree -> the chunk's nodes
  alone[cut.above] = root;
  const auto node_alone = [&](auto& self, int32_t trie_node) -> int32_t {
    if (const auto known = alone.find(trie_node); known != alone.end()) return known->second;
    const int32_t parent = self(self, node(trie_node).parent);
    return alone[trie_node] = builder.add_node(parent, run_tokens(trie_node));
  };
  for (const Branch& branch : branches_of(cut)) {
    if (!branch.is_whole) {
      add_requests(branch.node, node_alone(node_alone, branch.node));
      continue;
    }
    const int32_t parent = node_alone(node_alone, node(branch.node).parent);
    const int32_t offset = static_cast<int32_t>(builder.chunk.parent.size()) - branch.node;
    for (int32_t i = branch.node; i < node(branch.node).subtree_end; ++i) {
      builder.add_node(i == branch.node ? parent : node(i).parent + offset, run_tokens(i));
      add_requests(i, i + offset);
    }
  }
  return std::move(builder.chunk);
}

}  // namespace

Plan plan_scores(ScoreTable requests, int64_t token_budget) {
  const auto planner = std::make_shared<const ScorePlanner>(std::move(requests), token_budget);
  Plan plan;
  plan.naive_tokens = planner->naive_tokens();
  plan.distinct_tokens = planner->distinct_tokens();
  plan.chunks.reserve(planner->chunk_count());
  std::set<int32_t> counted;  // trie nodes that a trunk has covered
  for (size_t i = 0; i < planner->chunk_count(); ++i) {
    const Sequence trunk = planner->trunk(i);
    const int64_t own_tokens = planner->own_tokens(i);
    PlannedChunk chunk;
    chunk.payload = [planner, i] { return encode(Chunk(planner->make_chunk(i))); };
    chunk.prefix = trunk_hash(trunk);
    chunk.trunk_tokens = static_cast<int64_t>(trunk.size());
    chunk.cost_tokens = chunk.trunk_tokens + own_tokens;
    plan.chunks.push_back(std::move(chunk));
    plan.planned_tokens += own_tokens;
    planner->for_each_trunk_node(i, [&](int32_t node, int64_t tokens) {
      if (counted.insert(node).second) plan.planned_tokens += tokens;
    });
  }
  return plan;
}

Plan plan_scores(std::span<const ScoreRequest> requests, int64_t token_budget) {
  ScoreTable table;
  std::vector<int32_t> tokens;
  for (const ScoreRequest& request : requests) {
    table.rows.push_back({request.key, static_cast<int64_t>(tokens.size()), static_cast<int32_t>(request.tokens.size()),
                          request.targets});
    tokens.insert(tokens.end(), request.tokens.begin(), request.tokens.end());
  }
  table.tokens = std::make_shared<const std::vector<int32_t>>(std::move(tokens));
  return plan_scores(std::move(table), token_budget);
}

int64_t count_distinct_tokens(const ScoreTable& requests) { return trie_of_inputs(requests).distinct_tokens; }

}  // namespace evalmpi::engine

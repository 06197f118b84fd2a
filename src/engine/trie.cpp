#include "trie.h"

#include <algorithm>
#include <numeric>

#include "evalmpi/base/error.h"

namespace evalmpi::engine {
namespace {

using Sequence = std::span<const int32_t>;

std::vector<int32_t> sorted_order(std::span<const Sequence> sequences) {
  std::vector<int32_t> order(sequences.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const auto compared = std::lexicographical_compare_three_way(sequences[a].begin(), sequences[a].end(),
                                                                 sequences[b].begin(), sequences[b].end());
    return compared != 0 ? compared < 0 : a < b;
  });
  return order;
}

int32_t common_prefix(Sequence a, Sequence b) {
  const auto [in_a, in_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<int32_t>(in_a - a.begin());
}

// Walks the sorted sequences and keeps the path to the last one on a stack; where the next one leaves that path
// inside a node, the node is split. The result has no order yet; parents are indices.
std::vector<TrieNode> merge_sorted(std::span<const Sequence> sequences, std::span<const int32_t> order) {
  std::vector<TrieNode> nodes;
  std::vector<int32_t> path;
  for (int32_t rank = 0; rank < static_cast<int32_t>(order.size()); ++rank) {
    const Sequence sequence = sequences[order[rank]];
    EVALMPI_CHECK(!sequence.empty());
    const int32_t shared = rank == 0 ? 0 : common_prefix(sequences[order[rank - 1]], sequence);
    while (!path.empty() && nodes[path.back()].start >= shared) path.pop_back();
    if (!path.empty() && nodes[path.back()].end > shared) {
      const int32_t lower = path.back();
      TrieNode upper = nodes[lower];
      upper.end = shared;
      upper.ending_sequence = upper.first_sequence;
      nodes[lower].start = shared;
      nodes[lower].parent = static_cast<int32_t>(nodes.size());
      path.back() = static_cast<int32_t>(nodes.size());
      nodes.push_back(upper);
    }
    if (static_cast<int32_t>(sequence.size()) > shared) {
      TrieNode leaf;
      leaf.parent = path.empty() ? -1 : path.back();
      leaf.start = shared;
      leaf.end = static_cast<int32_t>(sequence.size());
      leaf.first_sequence = rank;
      leaf.ending_sequence = rank;
      path.push_back(static_cast<int32_t>(nodes.size()));
      nodes.push_back(leaf);
    }
    nodes[path.back()].ending_sequence = rank + 1;
  }
  return nodes;
}

// Depth-first order is the order of (first sequence, start): ancestors share their first descendant's sequence.
std::vector<TrieNode> in_depth_first_order(const std::vector<TrieNode>& nodes) {
  std::vector<int32_t> order(nodes.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return std::pair(nodes[a].first_sequence, nodes[a].start) < std::pair(nodes[b].first_sequence, nodes[b].start);
  });
  std::vector<int32_t> place(nodes.size());
  for (size_t i = 0; i < order.size(); ++i) place[order[i]] = static_cast<int32_t>(i);
  std::vector<TrieNode> sorted;
  sorted.reserve(nodes.size());
  for (const int32_t from : order) {
    sorted.push_back(nodes[from]);
    if (sorted.back().parent >= 0) sorted.back().parent = place[sorted.back().parent];
  }
  return sorted;
}

}  // namespace

Trie build_trie(std::span<const Sequence> sequences) {
  Trie trie;
  trie.order = sorted_order(sequences);
  trie.nodes = in_depth_first_order(merge_sorted(sequences, trie.order));
  for (size_t i = trie.nodes.size(); i-- > 0;) {
    TrieNode& node = trie.nodes[i];
    node.subtree_end = std::max(node.subtree_end, static_cast<int32_t>(i) + 1);
    node.last_sequence = std::max(node.last_sequence, node.ending_sequence);
    node.subtree_tokens += node.end - node.start;
    trie.distinct_tokens += node.end - node.start;
    if (node.parent < 0) continue;
    TrieNode& parent = trie.nodes[node.parent];
    parent.subtree_end = std::max(parent.subtree_end, node.subtree_end);
    parent.last_sequence = std::max(parent.last_sequence, node.last_sequence);
    parent.subtree_tokens += node.subtree_tokens;
  }
  return trie;
}

}  // namespace evalmpi::engine

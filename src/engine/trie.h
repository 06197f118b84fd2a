#pragma once

// The token trie: sequences merged by common prefix, nodes in depth-first order.

#include <cstdint>
#include <span>
#include <vector>

namespace evalmpi::engine {

// Positions [start, end) of every sequence below it, all equal there. Nodes stand in depth-first order, so the
// subtree of node i is the range [i, subtree_end).
struct TrieNode {
  int32_t parent = -1;  // -1: the empty prefix
  int32_t start = 0;    // absolute position of its first token
  int32_t end = 0;
  int32_t subtree_end = 0;     // index of the first node after its subtree
  int64_t subtree_tokens = 0;  // tokens of its subtree, itself included
  int32_t first_sequence = 0;  // index into Trie::order: sequences [first, last) pass through it
  int32_t last_sequence = 0;
  int32_t ending_sequence = 0;  // sequences [first, ending) end with this node
};

struct Trie {
  std::vector<int32_t> order;  // sequence indices, sorted by content
  std::vector<TrieNode> nodes;
  int64_t distinct_tokens = 0;
};

// Sorts the sequences and merges them. They may be equal, none may be empty.
Trie build_trie(std::span<const std::span<const int32_t>> sequences);

}  // namespace evalmpi::engine

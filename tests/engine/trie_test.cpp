#include "trie.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace evalmpi::engine {
namespace {

using Tokens = std::vector<int32_t>;

Trie trie_of(const std::vector<Tokens>& sequences) {
  return build_trie(std::vector<std::span<const int32_t>>(sequences.begin(), sequences.end()));
}

// The tokens from the root to the end of a node.
Tokens path_of(const std::vector<Tokens>& sequences, const Trie& trie, const TrieNode& node) {
  const Tokens& any = sequences[trie.order[node.first_sequence]];
  return {any.begin(), any.begin() + node.end};
}

// Everything that TrieNode promises, checked against the sequences one by one.
void expect_trie(const std::vector<Tokens>& sequences) {
  const Trie trie = trie_of(sequences);
  Tokens expected(sequences.size());
  std::iota(expected.begin(), expected.end(), 0);
  std::stable_sort(expected.begin(), expected.end(), [&](int32_t a, int32_t b) { return sequences[a] < sequences[b]; });
  ASSERT_EQ(trie.order, expected);

  std::set<Tokens> prefixes, path_ends;
  for (const Tokens& sequence : sequences) {
    for (size_t length = 1; length <= sequence.size(); ++length) {
      prefixes.insert({sequence.begin(), sequence.begin() + static_cast<int64_t>(length)});
    }
  }
  EXPECT_EQ(trie.distinct_tokens, static_cast<int64_t>(prefixes.size()));
  int64_t tokens = 0;
  for (size_t i = 0; i < trie.nodes.size(); ++i) {
    const TrieNode& node = trie.nodes[i];
    ASSERT_LT(node.start, node.end);
    ASSERT_LT(node.parent, static_cast<int32_t>(i));
    EXPECT_EQ(node.start, node.parent < 0 ? 0 : trie.nodes[node.parent].end);
    const Tokens path = path_of(sequences, trie, node);
    EXPECT_TRUE(path_ends.insert(path).second) << "a path ends with one node";
    tokens += node.end - node.start;
    int64_t subtree_tokens = 0;
    for (size_t j = i; j < trie.nodes.size(); ++j) {
      const Tokens other = path_of(sequences, trie, trie.nodes[j]);
      const bool is_below = other.size() >= path.size() && std::equal(path.begin(), path.end(), other.begin());
      EXPECT_EQ(is_below, static_cast<int32_t>(j) < node.subtree_end);
      if (is_below) subtree_tokens += trie.nodes[j].end - trie.nodes[j].start;
    }
    EXPECT_EQ(node.subtree_tokens, subtree_tokens);
    for (int32_t rank = 0; rank < static_cast<int32_t>(trie.order.size()); ++rank) {
      const Tokens& sequence = sequences[trie.order[rank]];
      const bool passes = sequence.size() >= path.size() && std::equal(path.begin(), path.end(), sequence.begin());
      EXPECT_EQ(passes, rank >= node.first_sequence && rank < node.last_sequence);
      EXPECT_EQ(sequence == path, rank >= node.first_sequence && rank < node.ending_sequence);
    }
  }
  EXPECT_EQ(tokens, trie.distinct_tokens) << "no token stands in two nodes";
}

TEST(Trie, of_nothing_and_of_one) {
  EXPECT_TRUE(trie_of({}).nodes.empty());
  expect_trie({{7}});
}

TEST(Trie, equal_sequences_prefixes_of_others_and_forks) {
  expect_trie({{1, 2, 3}, {1, 2, 3}, {1, 2}, {1, 2, 4, 5}, {1}, {9}, {1, 2, 3, 4}, {1, 2}, {0, 9}});
}

TEST(Trie, random_sequences_over_few_tokens) {
  std::mt19937 random(17);
  for (int round = 0; round < 200; ++round) {
    std::vector<Tokens> sequences(1 + random() % 25);
    for (Tokens& sequence : sequences) {
      sequence.resize(1 + random() % 7);
      for (int32_t& token : sequence) token = static_cast<int32_t>(random() % 3);
    }
    expect_trie(sequences);
  }
}

// Runs longer than the blocks in which tokens are compared, that part at every position around the blocks' borders.
TEST(Trie, long_common_prefixes) {
  std::vector<Tokens> sequences;
  for (const int32_t parts_at : {1, 63, 64, 65, 66, 127, 128, 129, 191, 192, 193, 200}) {
    Tokens sequence(200, 5);
    if (parts_at < 200) sequence[parts_at] = 1 + parts_at % 9;
    sequences.push_back(sequence);
    sequence.resize(parts_at);
    sequences.push_back(sequence);
  }
  expect_trie(sequences);
}

}  // namespace
}  // namespace evalmpi::engine

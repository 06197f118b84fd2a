#include "trie.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "evalmpi/base/error.h"

namespace evalmpi::engine {
namespace {

using Sequence = std::span<const int32_t>;

constexpr int32_t kEnd = std::numeric_limits<int32_t>::min();  // behind the last token; sorts before every token

int32_t token_at(Sequence sequence, int32_t position) {
  return position < static_cast<int32_t>(sequence.size()) ? sequence[position] : kEnd;
}

// The length of the common prefix of two sequences that share their first `known` tokens.
int32_t common_prefix(Sequence a, Sequence b, int32_t known) {
  constexpr int32_t kBlock = 64;
  const auto end = static_cast<int32_t>(std::min(a.size(), b.size()));
  int32_t i = known;
  while (i + kBlock <= end && std::memcmp(a.data() + i, b.data() + i, kBlock * sizeof(int32_t)) == 0) i += kBlock;
  while (i < end && a[i] == b[i]) ++i;
  return i;
}

// A sequence in a sorted run: it shares `shared` tokens with the one before it, and `next` follows these.
struct Place {
  int32_t sequence = 0;
  int32_t shared = 0;
  int32_t next = 0;
};

// Merges two sorted runs. The heads of both know what they share with the last one written, so tokens are compared only
// where both share equally much and go on equally: every token of a sequence about once in the whole sort (merge sort
// with common prefixes, Ng and Kakehi 2008).
void merge_runs(std::span<const Sequence> sequences, std::span<const Place> left, std::span<const Place> right,
                Place* out) {
  size_t in_left = 0;
  size_t in_right = 0;
  if (left.empty() || right.empty()) {
    std::copy(right.begin(), right.end(), std::copy(left.begin(), left.end(), out));
    return;
  }
  Place a = left[0];
  Place b = right[0];
  while (true) {
    const Place head_a = a;
    const Place head_b = b;
    if (a.shared == b.shared && a.next == b.next && a.next != kEnd) {
      const Sequence of_a = sequences[a.sequence];
      const Sequence of_b = sequences[b.sequence];
      a.shared = b.shared = common_prefix(of_a, of_b, a.shared + 1);
      a.next = token_at(of_a, a.shared);
      b.next = token_at(of_b, b.shared);
    }
    const bool takes_left = a.shared != b.shared ? a.shared > b.shared : a.next <= b.next;
    *out++ = takes_left ? head_a : head_b;
    if (takes_left) {
      if (++in_left == left.size()) break;
      a = left[in_left];
    } else {
      if (++in_right == right.size()) break;
      b = right[in_right];
    }
  }
  if (in_left < left.size()) {
    *out++ = a;
    std::copy(left.begin() + static_cast<int64_t>(in_left) + 1, left.end(), out);
  } else {
    *out++ = b;
    std::copy(right.begin() + static_cast<int64_t>(in_right) + 1, right.end(), out);
  }
}

std::vector<Place> sorted_places(std::span<const Sequence> sequences) {
  std::vector<Place> places(sequences.size());
  for (size_t i = 0; i < places.size(); ++i) {
    EVALMPI_CHECK(!sequences[i].empty());
    places[i] = {static_cast<int32_t>(i), 0, sequences[i][0]};
  }
  std::vector<Place> merged(places.size());
  for (size_t run = 1; run < places.size(); run *= 2) {
    for (size_t begin = 0; begin < places.size(); begin += 2 * run) {
      const std::span<const Place> both = std::span(places).subspan(begin, std::min(2 * run, places.size() - begin));
      const size_t middle = std::min(run, both.size());
      merge_runs(sequences, both.first(middle), both.subspan(middle), merged.data() + begin);
    }
    places.swap(merged);
  }
  return places;
}

// The nodes' ranges and first sequences, in depth-first order. From the last sequence to the first, the positions at
// which later sequences leave the present one cut it into its nodes.
std::vector<TrieNode> cut_into_nodes(std::span<const Sequence> sequences, std::span<const Place> places) {
  std::vector<TrieNode> nodes;
  std::vector<int32_t> cuts;  // ascending
  for (auto rank = static_cast<int32_t>(places.size()) - 1; rank >= 0; --rank) {
    const int32_t shared = places[rank].shared;
    auto end = static_cast<int32_t>(sequences[places[rank].sequence].size());
    while (end > shared) {
      while (!cuts.empty() && cuts.back() >= end) cuts.pop_back();
      TrieNode node;
      node.start = cuts.empty() ? shared : std::max(shared, cuts.back());
      node.end = end;
      node.first_sequence = rank;
      nodes.push_back(node);
      end = node.start;
    }
    while (!cuts.empty() && cuts.back() >= shared) cuts.pop_back();
    if (shared > 0) cuts.push_back(shared);
  }
  std::reverse(nodes.begin(), nodes.end());
  return nodes;
}

void connect(std::vector<TrieNode>& nodes, std::span<const Place> places) {
  std::vector<int32_t> path;
  for (size_t i = 0; i < nodes.size(); ++i) {
    TrieNode& node = nodes[i];
    while (!path.empty() && nodes[path.back()].end > node.start) path.pop_back();
    node.parent = path.empty() ? -1 : path.back();
    path.push_back(static_cast<int32_t>(i));
    // The sequences that end here are this one's equals, if it does not go on: the next node begins with the one after.
    node.ending_sequence = i + 1 < nodes.size() ? nodes[i + 1].first_sequence : static_cast<int32_t>(places.size());
    node.last_sequence = node.ending_sequence;
    node.subtree_end = static_cast<int32_t>(i) + 1;
    node.subtree_tokens = node.end - node.start;
  }
  for (size_t i = nodes.size(); i-- > 0;) {
    const TrieNode& node = nodes[i];
    if (node.parent < 0) continue;
    TrieNode& parent = nodes[node.parent];
    parent.subtree_end = std::max(parent.subtree_end, node.subtree_end);
    parent.last_sequence = std::max(parent.last_sequence, node.last_sequence);
    parent.subtree_tokens += node.subtree_tokens;
  }
}

}  // namespace

Trie build_trie(std::span<const Sequence> sequences) {
  EVALMPI_CHECK(sequences.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()));
  const std::vector<Place> places = sorted_places(sequences);
  Trie trie;
  trie.nodes = cut_into_nodes(sequences, places);
  connect(trie.nodes, places);
  trie.order.reserve(places.size());
  for (const Place& place : places) trie.order.push_back(place.sequence);
  for (const TrieNode& node : trie.nodes) trie.distinct_tokens += node.end - node.start;
  return trie;
}

}  // namespace evalmpi::engine

// Compiled with -O3: the inner loop is the whole cost of a sum and has to be vectorised. Addition alone leaves the
// compiler nothing to contract or reorder.

#include <algorithm>
#include <cstring>

#include "backend.h"

namespace evalmpi::comm {

void add_in_order(std::span<const float* const> parts, std::span<float> out) {
  constexpr size_t kBlock = 2048;  // stays in the first cache while all parts are added
  for (size_t begin = 0; begin < out.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, out.size() - begin);
    float* __restrict sum = out.data() + begin;
    std::memcpy(sum, parts.front() + begin, count * sizeof(float));
    for (const float* part : parts.subspan(1)) {
      const float* __restrict next = part + begin;
      for (size_t i = 0; i < count; ++i) {
        sum[i] += next[i];
      }
    }
  }
}

Slice slice_of(int64_t n, int rank, int size) {
  const int64_t base = n / size, rest = n % size;
  const auto begin_of = [&](int64_t r) { return r * base + std::min(r, rest); };
  return {begin_of(rank), begin_of(rank + 1)};
}

std::vector<int> members_of_color(std::span<const SplitWish> wishes, int color) {
  std::vector<int> members;
  for (size_t i = 0; i < wishes.size(); ++i) {
    if (wishes[i].color == color) {
      members.push_back(static_cast<int>(i));
    }
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return wishes[a].key < wishes[b].key; });
  return members;
}

}  // namespace evalmpi::comm

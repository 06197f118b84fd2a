#pragma once

// What every backend must do, whoever its members are. Each member of a group calls these with its communicator.

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "evalmpi/comm/communicator.h"

namespace evalmpi::comm {

// Member `rank`'s addends: of very different sizes and signs, so that another order of addition gives other bits.
inline float addend(int rank, int64_t i) {
  uint64_t mixed = (static_cast<uint64_t>(i) * 64 + static_cast<uint64_t>(rank) + 1) * 0x9E3779B97F4A7C15U;
  mixed = (mixed ^ (mixed >> 31)) * 0xBF58476D1CE4E5B9U;
  mixed ^= mixed >> 29;
  const float mantissa = 1.0F + static_cast<float>(mixed % 8388608U) / 8388608.0F;
  return std::ldexp((mixed >> 50) & 1U ? mantissa : -mantissa, static_cast<int>((mixed >> 32) % 12));
}

inline at::Tensor addends(int rank, int64_t n) {
  at::Tensor x = at::empty({n}, at::kFloat);
  for (int64_t i = 0; i < n; ++i) {
    x.mutable_data_ptr<float>()[i] = addend(rank, i);
  }
  return x;
}

// How many of the n sums are not, bit for bit, the float32 sum in the order of ranks.
inline int64_t wrong_sums(Communicator& group, int64_t n) {
  const at::Tensor sum = group.all_reduce_sum(addends(group.rank(), n));
  int64_t wrong = sum.numel() == n ? 0 : 1;
  for (int64_t i = 0; i < n && wrong == 0; ++i) {
    float expected = addend(0, i);
    for (int rank = 1; rank < group.size(); ++rank) {
      expected += addend(rank, i);
    }
    wrong += std::bit_cast<uint32_t>(expected) != std::bit_cast<uint32_t>(sum.const_data_ptr<float>()[i]);
  }
  return wrong;
}

inline void check_sums(Communicator& group) {
  for (const int64_t n : {0, 1, 2, 5, 1023, 4097, 100003}) {
    EXPECT_EQ(wrong_sums(group, n), 0) << n << " elements, " << group.size() << " members";
  }
  const at::Tensor table = at::full({3, 4}, group.rank() + 1.0).t();  // strided
  const at::Tensor sum = group.all_reduce_sum(table);
  EXPECT_EQ(sum.sizes(), table.sizes());
  EXPECT_EQ(sum[3][2].item<float>(), group.size() * (group.size() + 1) / 2.0F);
  EXPECT_EQ(table[0][0].item<float>(), group.rank() + 1.0F);
}

inline std::string text_of_rank(int rank) { return std::string(rank * 7, static_cast<char>('a' + rank)); }

inline void check_bytes(Communicator& group) {
  const int size = group.size(), rank = group.rank();
  for (int root = 0; root < size; ++root) {
    std::vector<int32_t> numbers(37, rank == root ? root + 5 : -1);
    group.broadcast(std::as_writable_bytes(std::span(numbers)), root);
    EXPECT_EQ(numbers, std::vector<int32_t>(37, root + 5));
    EXPECT_EQ(group.broadcast_bytes(rank == root ? "from the root" : "ignored, and longer than it", root),
              "from the root");
    const std::vector<std::string> gathered = group.gather(text_of_rank(rank), root);
    EXPECT_EQ(gathered.size(), rank == root ? size : 0);
    for (int from = 0; from < static_cast<int>(gathered.size()); ++from) {
      EXPECT_EQ(gathered[from], text_of_rank(from));
    }
  }
  group.broadcast({}, 0);
  const std::vector<std::string> all = group.all_gather(text_of_rank(rank));
  EXPECT_EQ(static_cast<int>(all.size()), size);
  for (int from = 0; from < static_cast<int>(all.size()); ++from) {
    EXPECT_EQ(all[from], text_of_rank(from));
  }
  const at::Tensor rows = group.all_gather(at::full({2, 3}, rank, at::kLong));
  EXPECT_EQ(rows.sizes(), (std::vector<int64_t>{size, 2, 3}));
  EXPECT_EQ(rows[size - 1][1][2].item<int64_t>(), size - 1);
}

inline void check_numbers(Communicator& group) {
  const int64_t n = group.size(), mine = group.rank() + 1;
  EXPECT_EQ(group.all_reduce(mine, Reduce::kSum), n * (n + 1) / 2);
  EXPECT_EQ(group.all_reduce(mine, Reduce::kMax), n);
  EXPECT_EQ(group.all_reduce(mine, Reduce::kMin), 1);
  EXPECT_EQ(group.all_reduce(int64_t{1} << 60, Reduce::kMax), int64_t{1} << 60);
  double sum = 0.1;
  for (int64_t rank = 1; rank < n; ++rank) {
    sum += 0.1 * static_cast<double>(rank + 1);
  }
  EXPECT_EQ(group.all_reduce(0.1 * static_cast<double>(mine), Reduce::kSum), sum);
}

// A ring of messages with three tags, received in another order.
inline void check_messages(Communicator& group) {
  if (group.size() == 1) {
    return;
  }
  const int next = (group.rank() + 1) % group.size();
  const int previous = (group.rank() + group.size() - 1) % group.size();
  const std::string large(100001, static_cast<char>('A' + group.rank()));
  const auto send_all = [&] {
    group.send("first", next, 3);
    group.send("second", next, 3);
    group.send("", next, 32767);
    group.send(large, next, 4);
  };
  const auto receive_all = [&] {
    EXPECT_EQ(group.receive(previous, 32767), "");
    EXPECT_EQ(group.receive(previous, 3), "first");
    EXPECT_EQ(group.receive(previous, 3), "second");
    EXPECT_EQ(group.receive(previous, 4), std::string(100001, static_cast<char>('A' + previous)));
  };
  // A large message may wait for its receiver, so the others receive before they send.
  if (group.rank() == 0) {
    send_all();
    receive_all();
  } else {
    receive_all();
    send_all();
  }
}

inline void check_splits(Communicator& group) {
  Communicator copy = group.duplicate();
  EXPECT_EQ(copy.rank(), group.rank());
  EXPECT_EQ(copy.size(), group.size());
  check_numbers(copy);
  // Odd and even members, each in reverse order.
  Communicator half = group.split(group.rank() % 2, -group.rank());
  const int members = (group.size() + 1 - group.rank() % 2) / 2;
  EXPECT_EQ(half.size(), members);
  EXPECT_EQ(half.rank(), members - 1 - group.rank() / 2);
  check_numbers(half);
  check_bytes(half);
  EXPECT_EQ(wrong_sums(half, 5003), 0);
  Communicator alone = half.split(half.rank(), 0);
  EXPECT_EQ(alone.size(), 1);
  group.barrier();
}

inline void check_group(Communicator& group) {
  check_numbers(group);
  check_bytes(group);
  check_sums(group);
  check_messages(group);
  check_splits(group);
  group.barrier();
}

}  // namespace evalmpi::comm

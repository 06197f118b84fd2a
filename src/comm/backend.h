#pragma once

// What a Communicator stands on. Counts are in bytes or elements of any size; a backend splits what its library
// cannot take at once.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace evalmpi::comm {

class Backend {
 public:
  virtual ~Backend() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void barrier() = 0;
  virtual void broadcast(std::span<std::byte> data, int root) = 0;
  // The same number of bytes from everyone -> all, [size * mine.size()].
  virtual void all_gather_equal(std::span<const std::byte> mine, std::span<std::byte> all) = 0;
  virtual std::vector<std::string> all_gather(std::string_view mine) = 0;
  virtual std::vector<std::string> gather(std::string_view mine, int root) = 0;
  // out = ((x_0 + x_1) + x_2) + ... of everyone's x, elementwise in float32. Same length; no overlap.
  virtual void ordered_sum(std::span<const float> x, std::span<float> out) = 0;
  virtual void send(std::string_view bytes, int to, int tag) = 0;
  virtual std::string receive(int from, int tag) = 0;
  virtual std::unique_ptr<Backend> split(int color, int key) = 0;
  virtual void abandon(std::string_view why) noexcept = 0;
};

constexpr int kTagLimit = 1 << 15;  // user tags lie below

std::vector<std::unique_ptr<Backend>> make_thread_backends(int size);

// out[i] = ((parts[0][i] + parts[1][i]) + ...) in float32. The parts do not overlap with out.
void add_in_order(std::span<const float* const> parts, std::span<float> out);

// Elements [begin, end) of n that member `rank` of `size` adds up.
struct Slice {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};
Slice slice_of(int64_t n, int rank, int size);

// The members of one color, in the order of (key, rank); what split() does with everybody's wish.
struct SplitWish {
  int color = 0, key = 0;
};
std::vector<int> members_of_color(std::span<const SplitWish> wishes, int color);

}  // namespace evalmpi::comm

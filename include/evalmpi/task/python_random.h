#pragma once

// CPython's random.Random, bit for bit: few-shot draws and bootstrap resamples are part of a score.

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace evalmpi::task {

// The Mersenne Twister MT19937 with CPython's seeding and derived draws.
class PythonRandom {
 public:
  // random.Random(seed) for an integer seed; the sign is dropped, as CPython does.
  explicit PythonRandom(int64_t seed);

  // getrandbits(bits), 1 <= bits <= 64.
  uint64_t get_random_bits(int bits);

  // An integer in [0, bound), as Random._randbelow; bound > 0.
  uint64_t random_below(uint64_t bound);

  // shuffle(list); List: a container with size() and [].
  template <typename List>
  void shuffle(List& list) {
    using std::swap;
    for (size_t i = list.size(); i > 1; --i) swap(list[i - 1], list[random_below(i)]);
  }

  // random(): a float in [0, 1) with 53 bits.
  double random();

  // sample(range(population), count): positions without replacement. FAILS: kInternal if count > population.
  std::vector<int64_t> sample(int64_t population, int64_t count);

  // choices(range(population), k=positions.size()): positions with replacement, into `positions`.
  void choices(int64_t population, std::span<int32_t> positions);

 private:
  uint32_t next();

  std::array<uint32_t, 624> state_;
  int index_ = 624;
};

}  // namespace evalmpi::task

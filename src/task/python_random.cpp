#include "evalmpi/task/python_random.h"

#include <bit>
#include <unordered_set>

#include "evalmpi/base/error.h"

namespace evalmpi::task {
namespace {

constexpr size_t kStateWords = 624;
constexpr size_t kMiddleWord = 397;
constexpr uint32_t kHighBit = 0x80000000u;
constexpr uint32_t kMatrix = 0x9908b0dfu;

// Matsumoto and Nishimura's initialisation from a single word, the base of the one from a key.
void initialise(std::array<uint32_t, kStateWords>& state, uint32_t seed) {
  state[0] = seed;
  for (size_t i = 1; i < kStateWords; ++i) {
    state[i] = 1812433253u * (state[i - 1] ^ (state[i - 1] >> 30)) + static_cast<uint32_t>(i);
  }
}

void initialise_by_key(std::array<uint32_t, kStateWords>& state, std::span<const uint32_t> key) {
  initialise(state, 19650218u);
  size_t i = 1;
  size_t j = 0;
  const auto advance = [&] {
    if (++i >= kStateWords) {
      state[0] = state[kStateWords - 1];
      i = 1;
    }
  };
  for (size_t k = std::max(kStateWords, key.size()); k > 0; --k) {
    state[i] = (state[i] ^ ((state[i - 1] ^ (state[i - 1] >> 30)) * 1664525u)) + key[j] + static_cast<uint32_t>(j);
    advance();
    j = (j + 1) % key.size();
  }
  for (size_t k = kStateWords - 1; k > 0; --k) {
    state[i] = (state[i] ^ ((state[i - 1] ^ (state[i - 1] >> 30)) * 1566083941u)) - static_cast<uint32_t>(i);
    advance();
  }
  state[0] = kHighBit;
}

}  // namespace

PythonRandom::PythonRandom(int64_t seed) {
  const uint64_t magnitude = seed < 0 ? uint64_t{0} - static_cast<uint64_t>(seed) : static_cast<uint64_t>(seed);
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(magnitude), static_cast<uint32_t>(magnitude >> 32)};
  initialise_by_key(state_, std::span(key).first(key[1] == 0 ? 1 : 2));
}

uint32_t PythonRandom::next() {
  if (index_ == static_cast<int>(kStateWords)) {
    for (size_t i = 0; i < kStateWords; ++i) {
      const uint32_t mixed = (state_[i] & kHighBit) | (state_[(i + 1) % kStateWords] & ~kHighBit);
      state_[i] = state_[(i + kMiddleWord) % kStateWords] ^ (mixed >> 1) ^ ((mixed & 1) != 0 ? kMatrix : 0);
    }
    index_ = 0;
  }
  uint32_t word = state_[static_cast<size_t>(index_++)];
  word ^= word >> 11;
  word ^= (word << 7) & 0x9d2c5680u;
  word ^= (word << 15) & 0xefc60000u;
  return word ^ (word >> 18);
}

uint64_t PythonRandom::get_random_bits(int bits) {
  EVALMPI_CHECK(bits >= 1 && bits <= 64);
  if (bits <= 32) return next() >> (32 - bits);
  const uint64_t low = next();
  return low | (static_cast<uint64_t>(next() >> (64 - bits)) << 32);
}

uint64_t PythonRandom::random_below(uint64_t bound) {
  EVALMPI_CHECK(bound > 0);
  const int bits = std::bit_width(bound);
  uint64_t value = get_random_bits(bits);
  while (value >= bound) value = get_random_bits(bits);
  return value;
}

double PythonRandom::random() {
  const uint32_t high = next() >> 5;
  const uint32_t low = next() >> 6;
  return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0);
}

std::vector<int64_t> PythonRandom::sample(int64_t population, int64_t count) {
  EVALMPI_CHECK(count >= 0 && count <= population);
  // CPython keeps a pool where that is smaller than a set of the drawn positions.
  int64_t pool_limit = 21;
  if (count > 5) {
    int64_t power = 1;
    while (power < 3 * count) power *= 4;
    pool_limit += power;
  }
  std::vector<int64_t> drawn;
  drawn.reserve(static_cast<size_t>(count));
  if (population <= pool_limit) {
    std::vector<int64_t> pool(static_cast<size_t>(population));
    for (size_t i = 0; i < pool.size(); ++i) pool[i] = static_cast<int64_t>(i);
    for (int64_t i = 0; i < count; ++i) {
      const auto j = static_cast<size_t>(random_below(static_cast<uint64_t>(population - i)));
      drawn.push_back(pool[j]);
      pool[j] = pool[static_cast<size_t>(population - i - 1)];
    }
    return drawn;
  }
  std::unordered_set<int64_t> seen;
  while (static_cast<int64_t>(drawn.size()) < count) {
    const auto j = static_cast<int64_t>(random_below(static_cast<uint64_t>(population)));
    if (seen.insert(j).second) drawn.push_back(j);
  }
  return drawn;
}

void PythonRandom::choices(int64_t population, std::span<int32_t> positions) {
  const auto size = static_cast<double>(population);
  for (int32_t& position : positions) position = static_cast<int32_t>(random() * size);
}

}  // namespace evalmpi::task

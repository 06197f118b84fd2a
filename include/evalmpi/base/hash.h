#pragma once

// Hashes for three purposes: identity (Hash128), damage (crc32c), and what other tools print (sha256).

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace evalmpi {

// A 128-bit content hash (XXH3). Equal content gives equal hashes on every machine. Not for secrets.
struct Hash128 {
  uint64_t high = 0;
  uint64_t low = 0;
  auto operator<=>(const Hash128&) const = default;
  std::string hex() const;  // 32 lower-case digits
};

Hash128 hash128(std::span<const std::byte> bytes);
Hash128 hash128(std::string_view bytes);

// Feeds values in order; the result depends on their boundaries too (lengths are hashed with strings).
class Hasher {
 public:
  Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  ~Hasher();
  Hasher& add(std::string_view bytes);  // length, then bytes
  Hasher& add(uint64_t value);
  Hasher& add(const Hash128& value);
  Hasher& add_raw(std::span<const std::byte> bytes);  // bytes only
  Hash128 finish() const;

 private:
  void* state_;
};

// CRC32C (Castagnoli), as in iSCSI and LevelDB's log; crc32c("123456789") is 0xe3069283.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t previous = 0);
uint32_t crc32c(std::string_view bytes, uint32_t previous = 0);

// SHA-256 as 64 lower-case hex digits.
std::string sha256_hex(std::string_view bytes);

}  // namespace evalmpi

template <>
struct std::hash<evalmpi::Hash128> {
  size_t operator()(const evalmpi::Hash128& value) const noexcept { return value.low; }
};

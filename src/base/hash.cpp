#include "evalmpi/base/hash.h"

#include <fmt/format.h>
#include <openssl/sha.h>
#include <xxhash.h>

#include <cstring>

#include "evalmpi/base/error.h"

namespace evalmpi {
namespace {

std::span<const std::byte> as_span(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

constexpr std::array<uint32_t, 256> make_crc32c_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrc32cTable = make_crc32c_table();

uint32_t crc32c_portable(const unsigned char* bytes, size_t size, uint32_t state) {
  for (size_t i = 0; i < size; ++i) state = (state >> 8) ^ kCrc32cTable[(state ^ bytes[i]) & 0xff];
  return state;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t crc32c_sse42(const unsigned char* bytes, size_t size, uint32_t state) {
  uint64_t wide = state;
  while (size >= 8) {
    uint64_t word;
    std::memcpy(&word, bytes, 8);
    wide = __builtin_ia32_crc32di(wide, word);
    bytes += 8;
    size -= 8;
  }
  uint32_t narrow = static_cast<uint32_t>(wide);
  for (; size > 0; --size) narrow = __builtin_ia32_crc32qi(narrow, *bytes++);
  return narrow;
}
uint32_t crc32c_state(const unsigned char* bytes, size_t size, uint32_t state) {
  static const bool has_sse42 = __builtin_cpu_supports("sse4.2");
  return has_sse42 ? crc32c_sse42(bytes, size, state) : crc32c_portable(bytes, size, state);
}
#else
uint32_t crc32c_state(const unsigned char* bytes, size_t size, uint32_t state) {
  return crc32c_portable(bytes, size, state);
}
#endif

XXH3_state_t* state_of(void* state) { return static_cast<XXH3_state_t*>(state); }

}  // namespace

std::string Hash128::hex() const { return fmt::format("{:016x}{:016x}", high, low); }

Hash128 hash128(std::span<const std::byte> bytes) {
  const XXH128_hash_t value = XXH3_128bits(bytes.data(), bytes.size());
  return {value.high64, value.low64};
}
Hash128 hash128(std::string_view bytes) { return hash128(as_span(bytes)); }

Hasher::Hasher() : state_(XXH3_createState()) {
  EVALMPI_CHECK(state_ != nullptr);
  XXH3_128bits_reset(state_of(state_));
}
Hasher::~Hasher() { XXH3_freeState(state_of(state_)); }

Hasher& Hasher::add(std::string_view bytes) { return add(uint64_t{bytes.size()}).add_raw(as_span(bytes)); }
Hasher& Hasher::add(uint64_t value) { return add_raw(std::as_bytes(std::span(&value, 1))); }
Hasher& Hasher::add(const Hash128& value) { return add(value.high).add(value.low); }
Hasher& Hasher::add_raw(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_of(state_), bytes.data(), bytes.size());
  return *this;
}
Hash128 Hasher::finish() const {
  const XXH128_hash_t value = XXH3_128bits_digest(state_of(state_));
  return {value.high64, value.low64};
}

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t previous) {
  return ~crc32c_state(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), ~previous);
}
uint32_t crc32c(std::string_view bytes, uint32_t previous) { return crc32c(as_span(bytes), previous); }

std::string sha256_hex(std::string_view bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  std::string text;
  for (const unsigned char byte : digest) fmt::format_to(std::back_inserter(text), "{:02x}", byte);
  return text;
}

}  // namespace evalmpi

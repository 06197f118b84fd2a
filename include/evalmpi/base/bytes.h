#pragma once

// Little-endian binary messages: chunks, records, receipts. Reading is bounded: bytes that do not hold what they
// claim give an Error, never a read past the end or an allocation larger than the message.

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/base/hash.h"

namespace evalmpi {

static_assert(std::endian::native == std::endian::little, "messages are little-endian as they lie in memory");

class ByteWriter {
 public:
  template <typename T>
  ByteWriter& put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  ByteWriter& put(const Hash128& value) { return put(value.high).put(value.low); }
  ByteWriter& put_text(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    bytes_.append(text);
    return *this;
  }
  template <typename T>
  ByteWriter& put_array(std::span<const T> values) {
    static_assert(std::is_arithmetic_v<T>);
    put(static_cast<uint32_t>(values.size()));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
    return *this;
  }
  template <typename T>
  ByteWriter& put_array(const std::vector<T>& values) {
    return put_array(std::span<const T>(values));
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Reads what ByteWriter wrote, in the same order. `what` names the message in errors (kBadInput).
class ByteReader {
 public:
  ByteReader(std::string_view bytes, std::string_view what) : bytes_(bytes), what_(what) {}

  template <typename T>
  T get() {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  Hash128 get_hash() {
    const auto high = get<uint64_t>();
    return {high, get<uint64_t>()};
  }
  std::string_view get_text() { return take(get<uint32_t>()); }
  template <typename T>
  std::vector<T> get_array() {
    const size_t count = get<uint32_t>();
    const std::string_view bytes = take(count * sizeof(T));
    std::vector<T> values(count);
    if (count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  bool at_end() const { return bytes_.empty(); }
  // FAILS: kBadInput when bytes are left over.
  void finish() const {
    if (!bytes_.empty()) fail(ExitCode::kBadInput, "{}: {} bytes too many", what_, bytes_.size());
  }

 private:
  std::string_view take(size_t count) {
    if (count > bytes_.size()) fail(ExitCode::kBadInput, "{}: ends too early", what_);
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  std::string_view bytes_;
  std::string_view what_;
};

}  // namespace evalmpi

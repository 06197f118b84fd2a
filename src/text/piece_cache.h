#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace evalmpi::text {

// Remembers the ids of short words: prompts repeat few words many times. Direct-mapped, so it never grows; a word
// that does not fit a slot is not kept.
class PieceCache {
 public:
  static constexpr size_t kMaxBytes = 16;
  static constexpr size_t kMaxIds = 3;

  struct Slot {
    uint64_t low = 0;
    uint64_t high = 0;
    std::array<int32_t, kMaxIds> ids{};
    uint8_t bytes = 0;  // 0: empty
    uint8_t count = 0;
  };

  PieceCache() : slots_(kSlots) {}

  // The slot of a word of 1 to kMaxBytes bytes, and whether it holds that word; otherwise it may be filled with fill().
  Slot* find(std::string_view word, bool* hit) {
    const Slot wanted = key_of(word);
    uint64_t mixed = (wanted.low ^ wanted.bytes) * 0x9E3779B97F4A7C15ULL;
    mixed = (mixed ^ (mixed >> 32) ^ wanted.high) * 0xD6E8FEB86659FD93ULL;
    Slot* slot = &slots_[(mixed >> 40) & (kSlots - 1)];
    *hit = slot->low == wanted.low && slot->high == wanted.high && slot->bytes == wanted.bytes;
    return slot;
  }
  static void fill(Slot* slot, std::string_view word, const int32_t* ids, size_t count) {
    *slot = key_of(word);
    slot->count = static_cast<uint8_t>(count);
    std::memcpy(slot->ids.data(), ids, count * sizeof(int32_t));
  }

 private:
  static constexpr size_t kSlots = size_t{1} << 16;

  // Two overlapping loads hold every byte of the word; with its length they determine it.
  static Slot key_of(std::string_view word) {
    const auto load = [&](size_t at, size_t size) {
      uint64_t value = 0;
      if (size == 8) {
        std::memcpy(&value, word.data() + at, 8);
      } else {
        std::memcpy(&value, word.data() + at, 4);
      }
      return value;
    };
    Slot key;
    key.bytes = static_cast<uint8_t>(word.size());
    if (word.size() >= 8) {
      key.low = load(0, 8);
      key.high = load(word.size() - 8, 8);
    } else if (word.size() >= 4) {
      key.low = load(0, 4) | (load(word.size() - 4, 4) << 32);
    } else {
      for (const char c : word) key.low = (key.low << 8) | static_cast<unsigned char>(c);
    }
    return key;
  }

  std::vector<Slot> slots_;
};

}  // namespace evalmpi::text

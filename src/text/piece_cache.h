#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace evalmpi::text {

// Remembers the ids of short pieces of text: prompts repeat few words many times. Two slots stand at each place of
// its table, which never grows; a piece that does not fit a slot is not kept. `stage` says how far a piece had come
// when it was looked up, since the same bytes may become other ids from there.
class PieceCache {
 public:
  static constexpr size_t kMaxBytes = 24;
  static constexpr size_t kMaxIds = 9;
  static constexpr size_t kMaxStages = 256;

  struct alignas(64) Slot {
    std::array<uint64_t, 3> key{};
    std::array<int32_t, kMaxIds> ids{};
    uint8_t bytes = 0;  // 0: empty
    uint8_t stage = 0;
    uint8_t count = 0;
  };

  PieceCache() : slots_(kSlots) {}

  // The slot of a piece of 1 to kMaxBytes bytes, if it is there (`hit`); else the one for fill().
  Slot* find(std::string_view piece, uint8_t stage, bool* hit) {
    const std::array<uint64_t, 3> key = key_of(piece);
    uint64_t mixed = (key[0] ^ piece.size() ^ (uint64_t{stage} << 8)) * 0x9E3779B97F4A7C15ULL;
    mixed = (mixed ^ (mixed >> 32) ^ key[1] ^ (key[2] << 1)) * 0xD6E8FEB86659FD93ULL;
    Slot* slot = &slots_[((mixed >> 40) & (kSlots / 2 - 1)) * 2];
    const auto holds = [&](const Slot& s) { return s.key == key && s.bytes == piece.size() && s.stage == stage; };
    *hit = holds(slot[0]) || holds(slot[1]);
    return *hit && !holds(slot[0]) ? slot + 1 : slot;
  }
  // `slot` came from find() without a hit; the older of the two at its place gives way.
  static void fill(Slot* slot, std::string_view piece, uint8_t stage, const int32_t* ids, size_t count) {
    slot[1] = slot[0];
    slot->key = key_of(piece);
    slot->bytes = static_cast<uint8_t>(piece.size());
    slot->stage = stage;
    slot->count = static_cast<uint8_t>(count);
    std::memcpy(slot->ids.data(), ids, count * sizeof(int32_t));
  }

 private:
  static constexpr size_t kSlots = size_t{1} << 16;

  template <typename Word>
  static uint64_t load(std::string_view piece, size_t at) {
    Word value = 0;
    std::memcpy(&value, piece.data() + at, sizeof value);
    return value;
  }
  // Overlapping loads hold every byte of the piece; with its length they determine it.
  static std::array<uint64_t, 3> key_of(std::string_view piece) {
    const size_t bytes = piece.size();
    if (bytes > 16) return {load<uint64_t>(piece, 0), load<uint64_t>(piece, bytes - 8), load<uint64_t>(piece, 8)};
    if (bytes >= 8) return {load<uint64_t>(piece, 0), load<uint64_t>(piece, bytes - 8), 0};
    if (bytes >= 4) return {load<uint32_t>(piece, 0) | (load<uint32_t>(piece, bytes - 4) << 32), 0, 0};
    uint64_t low = 0;
    for (const char c : piece) low = (low << 8) | static_cast<unsigned char>(c);
    return {low, 0, 0};
  }

  std::vector<Slot> slots_;
};

}  // namespace evalmpi::text

#include "vocabulary.h"

#include <bit>
#include <functional>

#include "evalmpi/base/error.h"

namespace evalmpi::text {
namespace {

constexpr int64_t kEndId = int64_t{1} << 22;

uint32_t hash_of(std::string_view token) {
  const size_t hash = std::hash<std::string_view>{}(token);
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

}  // namespace

void Vocabulary::add(std::string_view token, int64_t id, std::string_view where) {
  if (id < 0 || id >= kEndId)
    fail(ExitCode::kBadInput, "{}: model.vocab: token '{}' has id {}; ids go from 0 to {}", where, token, id,
         kEndId - 1);
  const auto index = static_cast<size_t>(id);
  if (index >= places_.size()) places_.resize(index + 1);
  if (places_[index].taken)
    fail(ExitCode::kBadInput, "{}: model.vocab: tokens '{}' and '{}' have the same id {}", where,
         this->token(static_cast<int32_t>(id)), token, id);
  if (2 * (count_ + 1) > slots_.size()) grow();
  const Slot wanted = {hash_of(token), static_cast<int32_t>(id)};
  Slot* slot = slot_of(wanted.hash, token);
  if (slot->id >= 0) fail(ExitCode::kBadInput, "{}: model.vocab: token '{}' stands there twice", where, token);
  *slot = wanted;
  places_[index] = {bytes_.size(), static_cast<uint32_t>(token.size()), true};
  bytes_.insert(bytes_.end(), token.begin(), token.end());
  ++count_;
}

// The slot that holds the token, or the empty one where it would stand.
Vocabulary::Slot* Vocabulary::slot_of(uint32_t hash, std::string_view token) {
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at].id >= 0 && (slots_[at].hash != hash || this->token(slots_[at].id) != token)) at = (at + 1) & mask;
  return &slots_[at];
}

void Vocabulary::grow() {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(std::bit_ceil(4 * (count_ + 16))));
  const size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    size_t at = slot.hash & mask;
    while (slots_[at].id >= 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

std::optional<int32_t> Vocabulary::find(std::string_view token) const {
  if (count_ == 0) return std::nullopt;
  const uint32_t hash = hash_of(token);
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask; slots_[at].id >= 0; at = (at + 1) & mask) {
    if (slots_[at].hash == hash && this->token(slots_[at].id) == token) return slots_[at].id;
  }
  return std::nullopt;
}

std::string_view Vocabulary::token(int32_t id) const {
  if (id < 0 || id >= end_id()) return {};
  const Place& place = places_[static_cast<size_t>(id)];
  return {bytes_.data() + place.begin, place.size};
}

std::vector<int32_t> byte_token_ids(const Vocabulary& vocabulary) {
  std::vector<int32_t> ids;
  for (int byte = 0; byte < 256; ++byte) ids.push_back(vocabulary.find(fmt::format("<0x{:02X}>", byte)).value_or(-1));
  return ids;
}

}  // namespace evalmpi::text

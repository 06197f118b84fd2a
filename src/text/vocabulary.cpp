#include "vocabulary.h"

#include "evalmpi/base/error.h"

namespace evalmpi::text {
namespace {

constexpr int64_t kEndId = int64_t{1} << 22;

}  // namespace

void Vocabulary::add(std::string token, int64_t id, std::string_view where) {
  if (id < 0 || id >= kEndId)
    fail(ExitCode::kBadInput, "{}: model.vocab: token '{}' has id {}; ids go from 0 to {}", where, token, id,
         kEndId - 1);
  if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<size_t>(id) + 1);
  if (tokens_[static_cast<size_t>(id)] != nullptr)
    fail(ExitCode::kBadInput, "{}: model.vocab: tokens '{}' and '{}' have the same id {}", where,
         *tokens_[static_cast<size_t>(id)], token, id);
  const auto [entry, fresh] = ids_.try_emplace(std::move(token), static_cast<int32_t>(id));
  if (!fresh) fail(ExitCode::kBadInput, "{}: model.vocab: token '{}' stands there twice", where, entry->first);
  tokens_[static_cast<size_t>(id)] = &entry->first;
}

std::optional<int32_t> Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::string_view Vocabulary::token(int32_t id) const {
  if (id < 0 || id >= end_id() || tokens_[static_cast<size_t>(id)] == nullptr) return {};
  return *tokens_[static_cast<size_t>(id)];
}

std::vector<int32_t> byte_token_ids(const Vocabulary& vocabulary) {
  std::vector<int32_t> ids;
  for (int byte = 0; byte < 256; ++byte) ids.push_back(vocabulary.find(fmt::format("<0x{:02X}>", byte)).value_or(-1));
  return ids;
}

}  // namespace evalmpi::text

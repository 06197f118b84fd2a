#include "word_piece.h"

#include <algorithm>

#include "component.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

int32_t unknown_id(const Vocabulary& vocabulary, const std::string& unk_token, const std::string& where,
                   std::string_view word) {
  const std::optional<int32_t> id = vocabulary.find(unk_token);
  if (!id)
    fail(ExitCode::kBadInput, "{}: model: '{}' cannot be encoded, and unk_token '{}' is not in the vocabulary", where,
         word, unk_token);
  return *id;
}

}  // namespace

WordPiece::WordPiece(ModelFile file, std::string_view where) : where_(where) {
  const Component settings(file.settings, fmt::format("{}: model", where));
  for (const auto& [token, id] : file.vocabulary) {
    longest_bytes_ = std::max(longest_bytes_, token.size());
    vocabulary_.add(token, id, where);
  }
  unk_token_ = settings.text("unk_token", "[UNK]");
  prefix_ = settings.text("continuing_subword_prefix", "##");
  max_characters_ = settings.count("max_input_chars_per_word", 100);
}

void WordPiece::encode(std::string_view word, std::vector<int32_t>* ids) const {
  const size_t before = ids->size();
  bool known = static_cast<int64_t>(code_point_count(word)) <= max_characters_;
  std::string prefixed;
  for (size_t begin = 0; known && begin < word.size();) {
    std::optional<int32_t> id;
    // No piece is longer than the vocabulary's longest token.
    size_t end = std::min(word.size(), begin + longest_bytes_);
    const auto inside_character = [&] {
      return end < word.size() && (static_cast<unsigned char>(word[end]) & 0xC0) == 0x80;
    };
    while (inside_character()) --end;
    while (end > begin) {
      std::string_view piece = word.substr(begin, end - begin);
      if (begin > 0) piece = prefixed = prefix_ + std::string(piece);
      id = vocabulary_.find(piece);
      if (id) break;
      do --end;
      while (inside_character());
    }
    known = id.has_value();
    if (known) ids->push_back(*id);
    begin = end;
  }
  if (known) return;
  ids->resize(before);
  ids->push_back(unknown_id(vocabulary_, unk_token_, where_, word));
}

WordLevel::WordLevel(ModelFile file, std::string_view where) : where_(where) {
  for (const auto& [token, id] : file.vocabulary) vocabulary_.add(token, id, where);
  unk_token_ = Component(file.settings, fmt::format("{}: model", where)).text("unk_token", "<unk>");
}

void WordLevel::encode(std::string_view word, std::vector<int32_t>* ids) const {
  if (word.empty()) return;
  const std::optional<int32_t> id = vocabulary_.find(word);
  ids->push_back(id ? *id : unknown_id(vocabulary_, unk_token_, where_, word));
}

}  // namespace evalmpi::text

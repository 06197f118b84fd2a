#include "unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "component.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

constexpr double kUnknownPenalty = 10;
// SentencePiece allows 512 characters; the time per character of a text grows with the longest piece.
constexpr size_t kMaxPieceBytes = 2'048;

// The best way to write the text up to here: its score and its last piece.
struct Best {
  double score = 0;
  int32_t id = -1;
  uint32_t bytes = 0;  // of the last piece; 0 where no path ends
};

}  // namespace

Unigram::Unigram(ModelFile file, std::string_view where) : where_(where) {
  const Component settings(file.settings, fmt::format("{}: model", where));
  byte_fallback_ = settings.boolean("byte_fallback", false);
  double least = std::numeric_limits<double>::infinity();
  const size_t count = file.vocabulary.size();
  for (size_t i = 0; i < count; ++i) {
    const auto& [text, id] = file.vocabulary[i];
    const double score = file.scores[i];
    if (!std::isfinite(score))
      fail(ExitCode::kBadInput, "{}: model.vocab[{}]: the score of '{}' is not a finite number", where, i, text);
    if (text.size() > kMaxPieceBytes)
      fail(ExitCode::kBadInput, "{}: model.vocab[{}]: a piece has {} bytes, more than {}", where, i, text.size(),
           kMaxPieceBytes);
    least = std::min(least, score);
    vocabulary_.add(text, id, where);
  }
  unknown_score_ = least - kUnknownPenalty;
  sort_pieces(file.scores);
  for (const Piece& piece : sorted_) {
    const size_t first = piece.text.empty() ? 0 : static_cast<unsigned char>(piece.text[0]) + size_t{1};
    for (size_t later = first; later < first_of_byte_.size(); ++later) ++first_of_byte_[later];
  }
  if (settings.has("unk_id")) {
    const int64_t id = settings.count("unk_id", 0);
    if (id >= static_cast<int64_t>(count)) settings.refuse("unk_id", fmt::format("{} is not the id of a piece", id));
    unk_id_ = static_cast<int32_t>(id);
  }
  byte_ids_ = byte_token_ids(vocabulary_);
}

void Unigram::sort_pieces(const std::vector<double>& scores) {
  struct Key {
    uint64_t first_bytes;  // compares as they do, and nearly always decides
    int32_t id;
  };
  std::vector<Key> keys;
  keys.reserve(scores.size());
  for (int32_t id = 0; id < static_cast<int32_t>(scores.size()); ++id) {
    const std::string_view text = vocabulary_.token(id);
    uint64_t first_bytes = 0;
    for (size_t i = 0; i < 8; ++i)
      first_bytes = (first_bytes << 8) | (i < text.size() ? static_cast<unsigned char>(text[i]) : 0);
    keys.push_back({first_bytes, id});
  }
  std::sort(keys.begin(), keys.end(), [&](const Key& a, const Key& b) {
    if (a.first_bytes != b.first_bytes) return a.first_bytes < b.first_bytes;
    return vocabulary_.token(a.id) < vocabulary_.token(b.id);
  });
  sorted_.reserve(keys.size());
  for (const Key& key : keys)
    sorted_.push_back({vocabulary_.token(key.id), scores[static_cast<size_t>(key.id)], key.id});
}

template <typename Visit>
void Unigram::for_each_prefix(std::string_view text, Visit visit) const {
  const auto lead = static_cast<unsigned char>(text[0]);
  const Piece* begin = sorted_.data() + first_of_byte_[lead];
  const Piece* end = sorted_.data() + first_of_byte_[lead + 1];
  for (size_t depth = 1; begin < end; ++depth) {
    if (begin->text.size() == depth) visit(*begin++);
    if (depth == text.size()) return;
    const auto byte = static_cast<unsigned char>(text[depth]);
    const auto at_depth = [&](const Piece& piece) { return static_cast<unsigned char>(piece.text[depth]); };
    begin = std::partition_point(begin, end, [&](const Piece& piece) { return at_depth(piece) < byte; });
    end = std::partition_point(begin, end, [&](const Piece& piece) { return at_depth(piece) == byte; });
  }
}

void Unigram::encode(std::string_view word, std::vector<int32_t>* ids) const {
  if (word.empty()) return;
  thread_local std::vector<Best> best;
  best.assign(word.size() + 1, {});
  for (size_t at = 0; at < word.size();) {
    size_t next = at;
    next_code_point(word, &next);
    const double score_here = best[at].score;
    bool single = false;
    const auto offer = [&](size_t bytes, double score, int32_t id) {
      Best& target = best[at + bytes];
      if (target.bytes == 0 || score_here + score > target.score)
        target = {score_here + score, id, static_cast<uint32_t>(bytes)};
    };
    for_each_prefix(word.substr(at), [&](const Piece& piece) {
      offer(piece.text.size(), piece.score, piece.id);
      single = single || piece.text.size() == next - at;
    });
    if (!single) offer(next - at, unknown_score_, unk_id_.value_or(-1));
    at = next;
  }
  struct Part {
    std::string_view text;
    int32_t id;
  };
  thread_local std::vector<Part> pieces;  // from the last to the first
  pieces.clear();
  bool after_unknown = false;
  for (size_t end = word.size(); end > 0;) {
    const Best& node = best[end];
    const size_t begin = end - node.bytes;
    const bool unknown = node.id == unk_id_.value_or(-1);
    const size_t joined = unknown && after_unknown ? pieces.back().text.size() : 0;
    if (joined > 0) pieces.pop_back();
    pieces.push_back({word.substr(begin, node.bytes + joined), unknown ? -1 : node.id});
    after_unknown = unknown;
    end = begin;
  }
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    if (piece->id >= 0) {
      ids->push_back(piece->id);
    } else {
      append_unknown(piece->text, ids);
    }
  }
}

void Unigram::append_unknown(std::string_view text, std::vector<int32_t>* ids) const {
  if (const std::optional<int32_t> id = vocabulary_.find(text)) return ids->push_back(*id);
  const auto byte_id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
  if (byte_fallback_ && std::all_of(text.begin(), text.end(), [&](char byte) { return byte_id(byte) >= 0; })) {
    for (const char byte : text) ids->push_back(byte_id(byte));
    return;
  }
  if (!unk_id_)
    fail(ExitCode::kBadInput, "{}: model: '{}' is not in the vocabulary, and there is no unk_id", where_, text);
  ids->push_back(*unk_id_);
}

}  // namespace evalmpi::text

#include "bpe.h"

#include <algorithm>
#include <bit>

#include "byte_level.h"
#include "component.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

constexpr char32_t kLatinEnd = 0x200;

uint64_t pair_key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

size_t slot_of(uint64_t pair, size_t mask) { return static_cast<size_t>((pair * 0x9E3779B97F4A7C15ULL) >> 29) & mask; }

// A pair that could be merged; the top of a heap of these is the best one.
struct Candidate {
  uint32_t rank;
  uint32_t position;
  int32_t id;
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

struct Symbol {
  int32_t id;
  int32_t previous;
  int32_t next;
};

}  // namespace

Bpe::Bpe(ModelFile file, std::string_view where) {
  const Component settings(file.settings, fmt::format("{}: model", where));
  for (const auto& [token, id] : file.vocabulary) vocabulary_.add(token, id, where);
  fuse_unk_ = settings.boolean("fuse_unk", false);
  byte_fallback_ = settings.boolean("byte_fallback", false);
  ignore_merges_ = settings.boolean("ignore_merges", false);
  continuing_prefix_ = settings.text("continuing_subword_prefix", "");
  word_suffix_ = settings.text("end_of_word_suffix", "");
  if (const double dropout = settings.number("dropout", 0); dropout != 0)
    settings.refuse("dropout", "random merges are not supported; set it to null");
  if (const std::string unk = settings.text("unk_token", ""); !unk.empty()) {
    unk_id_ = vocabulary_.find(unk);
    if (!unk_id_) settings.refuse("unk_token", fmt::format("'{}' is not in the vocabulary", unk));
  }
  byte_ids_ = byte_token_ids(vocabulary_);
  if (continuing_prefix_.empty() && word_suffix_.empty()) {
    for (char32_t c = 0; c < kLatinEnd; ++c) {
      std::string text;
      append_utf8(&text, c);
      latin_ids_.push_back(vocabulary_.find(text).value_or(-1));
    }
  }
  read_merges(file.merges, where);
}

void Bpe::read_merges(const std::vector<std::pair<std::string, std::string>>& merges, std::string_view where) {
  merges_.resize(std::bit_ceil(2 * merges.size() + 16));
  bool joins_mark = false;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto id_of = [&](std::string_view token) {
      const std::optional<int32_t> id = vocabulary_.find(token);
      if (!id)
        fail(ExitCode::kBadInput, "{}: model.merges[{}] ('{}' + '{}'): '{}' is not in model.vocab", where, rank, left,
             right, token);
      return *id;
    };
    if (!std::string_view(right).starts_with(continuing_prefix_))
      fail(ExitCode::kBadInput, "{}: model.merges[{}]: '{}' does not start with '{}'", where, rank, right,
           continuing_prefix_);
    insert_merge({pair_key(id_of(left), id_of(right)), static_cast<uint32_t>(rank),
                  id_of(left + right.substr(continuing_prefix_.size()))});
    joins_mark = joins_mark || (right.starts_with(kSpaceMark) && !left.ends_with(kSpaceMark));
  }
  const bool plain = continuing_prefix_.empty() && word_suffix_.empty() && !ignore_merges_;
  cuts_before_marks_ = plain && !joins_mark && vocabulary_.find(kSpaceMark).has_value();
}

// A pair that stands there twice keeps its later rank, as in the reference.
void Bpe::insert_merge(const Merge& merge) {
  const size_t mask = merges_.size() - 1;
  size_t slot = slot_of(merge.pair, mask);
  while (merges_[slot].pair != kEmpty && merges_[slot].pair != merge.pair) slot = (slot + 1) & mask;
  merges_[slot] = merge;
}

const Bpe::Merge* Bpe::find_merge(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(left, right);
  const size_t mask = merges_.size() - 1;
  for (size_t slot = slot_of(pair, mask);; slot = (slot + 1) & mask) {
    if (merges_[slot].pair == pair) return &merges_[slot];
    if (merges_[slot].pair == kEmpty) return nullptr;
  }
}

void Bpe::encode(std::string_view word, std::vector<int32_t>* ids) const {
  if (word.empty()) return;
  if (ignore_merges_) {
    if (const std::optional<int32_t> id = vocabulary_.find(word)) {
      ids->push_back(*id);
      return;
    }
  }
  thread_local std::vector<int32_t> symbols;
  symbols.clear();
  split_symbols(word, &symbols);
  merge_all(&symbols);
  ids->insert(ids->end(), symbols.begin(), symbols.end());
}

void Bpe::split_symbols(std::string_view word, std::vector<int32_t>* symbols) const {
  bool unknown = false;  // an unk_token that was not written yet
  const auto flush = [&] {
    if (std::exchange(unknown, false)) symbols->push_back(*unk_id_);
  };
  std::string decorated;
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(word, &at);
    int32_t id = -1;
    std::string_view symbol = word.substr(begin, at - begin);
    if (!latin_ids_.empty() && c < kLatinEnd) {
      id = latin_ids_[c];
    } else {
      if (begin > 0 && !continuing_prefix_.empty()) symbol = decorated = continuing_prefix_ + std::string(symbol);
      if (at == word.size() && !word_suffix_.empty()) symbol = decorated = std::string(symbol) + word_suffix_;
      id = vocabulary_.find(symbol).value_or(-1);
    }
    if (id >= 0) {
      flush();
      symbols->push_back(id);
      continue;
    }
    const auto byte_id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
    if (byte_fallback_ && std::all_of(symbol.begin(), symbol.end(), [&](char b) { return byte_id(b) >= 0; })) {
      // A pending unk_token stays pending: the reference writes it behind the bytes.
      for (const char byte : symbol) symbols->push_back(byte_id(byte));
      continue;
    }
    if (!unk_id_) continue;
    if (!fuse_unk_) flush();
    unknown = true;
  }
  flush();
}

void Bpe::merge_all(std::vector<int32_t>* ids) const {
  if (ids->size() < 2) return;
  thread_local std::vector<Symbol> symbols;
  thread_local std::vector<Candidate> heap;
  const auto count = static_cast<int32_t>(ids->size());
  symbols.clear();
  heap.clear();
  for (int32_t i = 0; i < count; ++i)
    symbols.push_back({(*ids)[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  const auto at = [&](int32_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
  const auto push = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const Merge* merge = find_merge(at(left).id, at(right).id);
    if (merge == nullptr) return;
    heap.push_back({merge->rank, static_cast<uint32_t>(left), merge->id});
    std::push_heap(heap.begin(), heap.end());
  };
  for (int32_t i = 0; i + 1 < count; ++i) push(i, i + 1);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    const auto left = static_cast<int32_t>(best.position);
    const int32_t right = at(left).next;
    if (at(left).id < 0 || right < 0) continue;
    // The neighbours may have changed since the candidate was found.
    const Merge* merge = find_merge(at(left).id, at(right).id);
    if (merge == nullptr || merge->id != best.id) continue;
    at(left).id = best.id;
    at(left).next = at(right).next;
    at(right).id = -1;
    if (at(left).next >= 0) at(at(left).next).previous = left;
    push(at(left).previous, left);
    push(left, at(left).next);
  }
  ids->clear();
  for (int32_t i = 0; i >= 0; i = at(i).next) ids->push_back(at(i).id);
}

}  // namespace evalmpi::text

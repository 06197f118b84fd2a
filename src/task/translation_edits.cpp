#include "translation_edits.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <unordered_map>

namespace evalmpi::task {
namespace {

constexpr int64_t kMaxShiftSize = 10;
constexpr int64_t kMaxShiftDistance = 50;
constexpr int64_t kBeamWidth = 25;
constexpr int64_t kMaxCandidates = 1000;
constexpr int64_t kUnreachable = 10'000'000'000'000'000;

// Words as numbers, equal for equal words.
using Words = std::vector<int32_t>;

enum class Edit : uint8_t { kNone, kSubstitute, kInsert, kDelete, kUnset };

struct Cell {
  int64_t cost = kUnreachable;
  Edit edit = Edit::kUnset;
};

// Edit distances to one reference. Rows of the last hypothesis are kept: shifted copies share their first words.
class EditDistance {
 public:
  explicit EditDistance(const Words& reference) : reference_(reference) {
    std::vector<Cell> first(reference.size() + 1);
    for (size_t j = 0; j < first.size(); ++j) first[j] = {static_cast<int64_t>(j), Edit::kInsert};
    rows_.push_back(std::move(first));
  }

  // All calls have hypotheses of one length.
  int64_t operator()(const Words& hypothesis) {
    const auto [differs, other] = std::mismatch(words_.begin(), words_.end(), hypothesis.begin(), hypothesis.end());
    const auto known = static_cast<size_t>(differs - words_.begin());
    rows_.resize(known + 1);
    const auto n_reference = static_cast<int64_t>(reference_.size());
    const double ratio =
        hypothesis.empty() ? 1 : static_cast<double>(n_reference) / static_cast<double>(hypothesis.size());
    int64_t beam = kBeamWidth;
    if (static_cast<double>(kBeamWidth) < ratio / 2) beam = static_cast<int64_t>(std::ceil(ratio / 2 + kBeamWidth));
    for (size_t i = known + 1; i <= hypothesis.size(); ++i) {
      const auto diagonal = static_cast<int64_t>(std::floor(static_cast<double>(i) * ratio));
      const int64_t first = std::max<int64_t>(0, diagonal - beam);
      const int64_t last = i == hypothesis.size() ? n_reference + 1 : std::min(n_reference + 1, diagonal + beam);
      rows_.push_back(next_row(hypothesis[i - 1], first, last));
    }
    words_ = hypothesis;
    return rows_.back().back().cost;
  }

  // The edits of the last call, from the end to the start.
  std::vector<Edit> trace_backwards() const {
    std::vector<Edit> trace;
    size_t i = words_.size();
    size_t j = reference_.size();
    while (i > 0 || j > 0) {
      const Edit edit = rows_[i][j].edit;
      if (edit == Edit::kUnset) break;
      trace.push_back(edit);
      if (edit != Edit::kInsert) --i;
      if (edit != Edit::kDelete) --j;
    }
    return trace;
  }

 private:
  std::vector<Cell> next_row(int32_t word, int64_t first, int64_t last) const {
    const std::vector<Cell>& above = rows_.back();
    std::vector<Cell> row(above.size());
    for (int64_t j = first; j < last; ++j) {
      const auto at = static_cast<size_t>(j);
      if (j == 0) {
        row[at] = {above[at].cost + 1, Edit::kDelete};
        continue;
      }
      const bool same = word == reference_[at - 1];
      const std::array<Cell, 3> ways = {{{above[at - 1].cost + (same ? 0 : 1), same ? Edit::kNone : Edit::kSubstitute},
                                         {above[at].cost + 1, Edit::kDelete},
                                         {row[at - 1].cost + 1, Edit::kInsert}}};
      for (const Cell& way : ways) {
        if (row[at].cost > way.cost) row[at] = way;
      }
    }
    return row;
  }

  const Words& reference_;
  Words words_;
  std::vector<std::vector<Cell>> rows_;
};

struct Alignment {
  std::vector<int64_t> hypothesis_of;  // by reference word: the hypothesis word at or before it, -1 before the first
  std::vector<bool> reference_error;
  std::vector<bool> hypothesis_error;
};

// The edits turn the hypothesis into the reference, so a deletion passes over a hypothesis word.
Alignment align(const std::vector<Edit>& trace_backwards) {
  Alignment alignment;
  for (auto edit = trace_backwards.rbegin(); edit != trace_backwards.rend(); ++edit) {
    const bool error = *edit != Edit::kNone;
    if (*edit != Edit::kInsert) alignment.hypothesis_error.push_back(error);
    if (*edit == Edit::kDelete) continue;
    alignment.reference_error.push_back(error);
    alignment.hypothesis_of.push_back(static_cast<int64_t>(alignment.hypothesis_error.size()) - 1);
  }
  return alignment;
}

Words shifted(const Words& words, int64_t start, int64_t length, int64_t target) {
  Words rest(words.begin(), words.begin() + start);
  rest.insert(rest.end(), words.begin() + start + length, words.end());
  // Where the run goes among the words that stay.
  const auto size = static_cast<int64_t>(rest.size());
  int64_t place = target;
  if (target > start + length) place = target - length;
  place = std::min(place, size);
  rest.insert(rest.begin() + place, words.begin() + start, words.begin() + start + length);
  return rest;
}

struct Shift {
  // Higher is better, compared in this order: what it saves, length, -start, -target.
  std::array<int64_t, 4> rank{};
  Words words;
};

class ShiftSearch {
 public:
  ShiftSearch(const Words& reference, EditDistance& distance) : reference_(reference), distance_(distance) {}

  bool is_exhausted() const { return n_candidates_ >= kMaxCandidates; }

  // The best shift of `words`; nothing saved where there is none.
  Shift best(const Words& words) {
    before_ = distance_(words);
    alignment_ = align(distance_.trace_backwards());
    best_ = {};
    best_.words = words;
    found_ = false;
    const auto n_words = static_cast<int64_t>(words.size());
    const auto n_reference = static_cast<int64_t>(reference_.size());
    for (int64_t i = 0; i < n_words; ++i) {
      for (int64_t j = std::max<int64_t>(0, i - kMaxShiftDistance);
           j < std::min(n_reference, i + kMaxShiftDistance + 1); ++j) {
        for (int64_t length = 1; length <= kMaxShiftSize && i + length <= n_words && j + length <= n_reference;
             ++length) {
          if (words[static_cast<size_t>(i + length - 1)] != reference_[static_cast<size_t>(j + length - 1)]) break;
          try_targets(words, i, j, length);
          if (is_exhausted()) return best_;
        }
      }
    }
    return best_;
  }

 private:
  static bool any(const std::vector<bool>& errors, int64_t start, int64_t length) {
    return std::any_of(errors.begin() + start, errors.begin() + start + length, [](bool error) { return error; });
  }

  void try_targets(const Words& words, int64_t start, int64_t reference_start, int64_t length) {
    if (!any(alignment_.hypothesis_error, start, length)) return;
    if (!any(alignment_.reference_error, reference_start, length)) return;
    const int64_t here = alignment_.hypothesis_of[static_cast<size_t>(reference_start)];
    if (start <= here && here < start + length) return;
    int64_t previous = -1;
    for (int64_t offset = -1; offset < length; ++offset) {
      const int64_t position = reference_start + offset;
      int64_t target = 0;
      if (position >= 0) {
        if (position >= static_cast<int64_t>(alignment_.hypothesis_of.size())) break;
        target = alignment_.hypothesis_of[static_cast<size_t>(position)] + 1;
      }
      if (target == previous) continue;
      previous = target;
      Words moved = shifted(words, start, length, target);
      const std::array<int64_t, 4> rank = {before_ - distance_(moved), length, -start, -target};
      ++n_candidates_;
      if (!found_ || rank > best_.rank) best_ = {rank, std::move(moved)};
      found_ = true;
    }
  }

  const Words& reference_;
  EditDistance& distance_;
  int64_t n_candidates_ = 0;
  int64_t before_ = 0;
  Alignment alignment_;
  Shift best_;
  bool found_ = false;
};

}  // namespace

int64_t count_translation_edits(const std::vector<std::string>& hypothesis, const std::vector<std::string>& reference) {
  if (reference.empty()) return static_cast<int64_t>(hypothesis.size());
  std::unordered_map<std::string_view, int32_t> numbers;
  const auto number_all = [&](const std::vector<std::string>& texts) {
    Words words;
    for (const std::string& text : texts) {
      words.push_back(numbers.try_emplace(text, static_cast<int32_t>(numbers.size())).first->second);
    }
    return words;
  };
  Words words = number_all(hypothesis);
  const Words reference_words = number_all(reference);
  EditDistance distance(reference_words);
  ShiftSearch search(reference_words, distance);
  int64_t shifts = 0;
  while (true) {
    Shift shift = search.best(words);
    if (search.is_exhausted() || shift.rank[0] <= 0) break;
    ++shifts;
    words = std::move(shift.words);
  }
  return shifts + distance(words);
}

}  // namespace evalmpi::task

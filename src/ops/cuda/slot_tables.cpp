#include "slot_tables.h"

#include <algorithm>
#include <map>
#include <utility>

#include "evalmpi/base/error.h"

namespace evalmpi::ops::cuda {
namespace {

constexpr int64_t kSharedStep = 256;  // positions are shared in whole blocks of the CPU's kernel

}  // namespace

SlotTables::SlotTables(int64_t paths) : slots_of_path_(static_cast<size_t>(paths)) {}

SpanTables SlotTables::admit(std::span<const AttentionSpan> spans, int64_t rows, int tile_rows) {
  SpanTables tables;
  SourcesOfPaths sources_of_path;
  const auto sources_of = [&](int32_t path) -> const std::vector<int32_t>& {
    const auto found = sources_of_path.find(path);
    return found != sources_of_path.end() ? found->second : slots_of_path_[path];
  };
  for (const AttentionSpan& span : spans) {
    EVALMPI_CHECK(span.path >= 0 && span.path < paths() && span.start >= 0 && span.length >= 0);
    EVALMPI_CHECK(span.row >= 0 && int64_t{span.row} + span.length <= rows);
    EVALMPI_CHECK(span.fork >= -1 && span.fork < paths());
    const std::vector<int32_t>& continued = sources_of(span.fork >= 0 ? span.fork : span.path);
    EVALMPI_CHECK(span.start <= static_cast<int64_t>(continued.size()));
    EVALMPI_CHECK(span.length == 0 || span.start >= shared_);
    if (span.length == 0) continue;
    if (sources_of_path.count(span.path) == 0 || span.fork >= 0)
      sources_of_path[span.path] = std::vector<int32_t>(continued.begin(), continued.begin() + span.start);
    std::vector<int32_t>& sources = sources_of_path[span.path];
    sources.resize(span.start);
    for (int32_t i = 0; i < span.length; ++i) sources.push_back(~(span.row + i));
    const auto source_begin = static_cast<int32_t>(tables.sources.size());
    tables.sources.insert(tables.sources.end(), sources.begin(), sources.end());
    for (int32_t i = 0; i < span.length; i += tile_rows) {
      tables.tiles.push_back({source_begin, span.start + i, span.row + i, std::min(tile_rows, span.length - i)});
    }
  }
  commit(sources_of_path, rows, tables.stored);
  // Long work first, so that the device is not left waiting for one long block at the end.
  std::stable_sort(tables.tiles.begin(), tables.tiles.end(),
                   [](const RowTile& a, const RowTile& b) { return a.start + a.rows > b.start + b.rows; });
  return tables;
}

// What stays is held before anything is let go of; slots that are freed may be filled by this call, since they are
// written after all attention has read them.
void SlotTables::commit(SourcesOfPaths& sources_of_path, int64_t rows, std::vector<StoredRow>& stored) {
  std::map<int32_t, size_t> kept;  // positions of a path that stay as they are
  for (const auto& [path, sources] : sources_of_path) {
    const std::vector<int32_t>& old = slots_of_path_[path];
    const auto end = std::mismatch(old.begin(), old.end(), sources.begin(), sources.end()).first;
    const auto count = static_cast<size_t>(end - old.begin());
    kept[path] = count;
    for (size_t i = count; i < sources.size(); ++i)
      if (sources[i] >= 0) ++references_[sources[i]];
  }
  for (const auto& [path, count] : kept) let_go(path, count);
  std::vector<int32_t> slot_of_row(static_cast<size_t>(rows), -1);
  for (auto& [path, sources] : sources_of_path) {
    for (size_t i = kept[path]; i < sources.size(); ++i) {
      if (sources[i] >= 0) continue;
      const int32_t row = ~sources[i];
      if (slot_of_row[row] < 0) {
        slot_of_row[row] = take_slot();
        stored.push_back({row, slot_of_row[row]});
      } else {
        ++references_[slot_of_row[row]];
      }
      sources[i] = slot_of_row[row];
    }
    slots_of_path_[path] = std::move(sources);
  }
}

void SlotTables::share(int64_t positions) {
  EVALMPI_CHECK(positions >= 0 && paths() > 0 && positions <= length(0));
  for (int32_t path = 1; path < paths(); ++path) set_path(path, {});
  shared_ = positions / kSharedStep * kSharedStep;
}

void SlotTables::copy_path(int32_t from, int32_t to, int64_t length) {
  EVALMPI_CHECK(from >= 0 && from < paths() && to >= 0 && to < paths() && length >= shared_);
  if (from == to) return;
  EVALMPI_CHECK(length <= this->length(from));
  std::vector<int32_t> slots(slots_of_path_[from].begin(), slots_of_path_[from].begin() + length);
  for (const int32_t slot : slots) ++references_[slot];
  set_path(to, std::move(slots));
}

std::span<const int32_t> SlotTables::renew(int32_t to, int64_t length) {
  EVALMPI_CHECK(to >= 0 && to < paths() && length >= shared_ && (to > 0 || shared_ == 0));
  std::vector<int32_t> slots(slots_of_path_[0].begin(), slots_of_path_[0].begin() + shared_);
  for (const int32_t slot : slots) ++references_[slot];
  set_path(to, {});
  while (static_cast<int64_t>(slots.size()) < length) slots.push_back(take_slot());
  slots_of_path_[to] = std::move(slots);
  return slots_of_path_[to];
}

// `slots` are counted already.
void SlotTables::set_path(int32_t path, std::vector<int32_t> slots) {
  let_go(path, 0);
  slots_of_path_[path] = std::move(slots);
}

// The last first, so that the lowest is taken first again.
void SlotTables::let_go(int32_t path, size_t begin) {
  std::vector<int32_t>& slots = slots_of_path_[path];
  for (size_t i = slots.size(); i-- > begin;) {
    if (--references_[slots[i]] == 0) free_.push_back(slots[i]);
  }
  slots.resize(begin);
}

int32_t SlotTables::take_slot() {
  if (free_.empty()) {
    references_.push_back(1);
    return static_cast<int32_t>(references_.size()) - 1;
  }
  const int32_t slot = free_.back();
  free_.pop_back();
  references_[slot] = 1;
  return slot;
}

HeadOrder make_head_order(std::span<const int32_t> kv_head_of_query, int64_t kv_heads) {
  HeadOrder order;
  for (int32_t g = 0; g < kv_heads; ++g) {
    order.begin.push_back(static_cast<int32_t>(order.query_head.size()));
    for (int32_t n = 0; n < static_cast<int32_t>(kv_head_of_query.size()); ++n) {
      if (kv_head_of_query[n] != g) continue;
      order.query_head.push_back(n);
      order.kv_head.push_back(g);
    }
    order.most_of_a_kv_head =
        std::max(order.most_of_a_kv_head, static_cast<int32_t>(order.query_head.size()) - order.begin.back());
  }
  order.begin.push_back(static_cast<int32_t>(order.query_head.size()));
  return order;
}

}  // namespace evalmpi::ops::cuda

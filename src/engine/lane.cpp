#include "evalmpi/engine/lane.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "evalmpi/base/error.h"
#include "segments.h"
#include "within_memory.h"

namespace evalmpi::engine {
namespace {

void check_ids(std::span<const int32_t> ids, int64_t vocabulary) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocabulary) {
      fail(ExitCode::kBadInput,
           "token id {} is outside the model's vocabulary of {}: the tokenizer is not this model's", id, vocabulary);
    }
  }
}

// The (row, token) pairs that a chunk's requests ask for, each once, in row order. Rows are counted over the chunk's
// tokens.
struct Targets {
  std::vector<int32_t> row;
  std::vector<int32_t> token;
  std::vector<std::vector<int32_t>> of_request;  // indices into row/token, in path order

  explicit Targets(const ScoreChunk& chunk) : of_request(chunk.requests.size()) {
    struct Wanted {
      int32_t row, token, request, place;
    };
    std::vector<Wanted> wanted;
    for (size_t r = 0; r < chunk.requests.size(); ++r) {
      const ScoreChunk::Request& request = chunk.requests[r];
      of_request[r].resize(request.targets);
      int32_t token = request.last_target;
      int32_t node = request.node;
      int32_t at = chunk.token_begin[node + 1] - 1;
      for (int32_t place = request.targets - 1; place >= 0; --place) {
        wanted.push_back({at, token, static_cast<int32_t>(r), place});
        token = chunk.tokens[at];
        if (at > chunk.token_begin[node]) {
          --at;
        } else if (place > 0) {
          node = chunk.parent[node];
          EVALMPI_CHECK(node >= 0);
          at = chunk.token_begin[node + 1] - 1;
        }
      }
    }
    std::sort(wanted.begin(), wanted.end(),
              [](const Wanted& a, const Wanted& b) { return std::pair(a.row, a.token) < std::pair(b.row, b.token); });
    for (const Wanted& want : wanted) {
      if (row.empty() || row.back() != want.row || token.back() != want.token) {
        row.push_back(want.row);
        token.push_back(want.token);
      }
      of_request[want.request][want.place] = static_cast<int32_t>(row.size()) - 1;
    }
  }
};

}  // namespace

Lane::Lane(std::shared_ptr<const model::Transformer> transformer, comm::Communicator tp, int64_t token_budget,
           Hash128 numerics_class, std::shared_ptr<SharedTrunks> trunks)
    : transformer_(std::move(transformer)),
      tp_(std::move(tp)),
      token_budget_(token_budget),
      segment_rows_(token_budget),
      numerics_class_(numerics_class),
      store_(transformer_->make_key_value_store(1)),
      trunks_(std::move(trunks)),
      number_(trunks_->join()) {
  EVALMPI_CHECK(token_budget_ >= 1);
}

Hash128 Lane::held_prefix() const {
  return held_trunk_.empty() ? Hash128{} : hash128(std::as_bytes(std::span(held_trunk_)));
}

std::string Lane::run(std::string_view bytes, const StopCriterion& stop) {
  const Chunk chunk = decode_chunk(bytes);
  ChunkRecord record;
  const auto attempt = [&](int64_t rows) {
    record = {};
    segment_rows_ = rows;
    compute(chunk, stop, record);
  };
  const MemoryRule rule{.may_repeat = tp_.size() == 1, .may_split = split_class_.has_value()};
  const int64_t rows = compute_within_memory(token_budget_, rule, attempt, [this] { let_go(); });
  record.numerics_class = rows == token_budget_ ? numerics_class_ : *split_class_;
  return encode(record);
}

void Lane::compute(const Chunk& chunk, const StopCriterion& stop, ChunkRecord& record) {
  try {
    if (const auto* scores = std::get_if<ScoreChunk>(&chunk)) {
      run_scores(*scores, record);
    } else {
      run_generations(std::get<GenerateChunk>(chunk), stop, record);
    }
  } catch (...) {
    held_trunk_.clear();
    trunks_->withdraw(number_);
    throw;
  }
}

// All keys and values, and what the allocator keeps for later.
void Lane::let_go() {
  store_ = transformer_->make_key_value_store(1);
  paths_ = 1;
  positions_ = 0;
  empty_device_caches();
}

at::Tensor Lane::forward(const model::Segment& segment) {
  const at::Tensor hidden_TD = transformer_->embed(segment, tp_);
  return transformer_->run_layers(hidden_TD, segment, 0, transformer_->spec().layers, store_, tp_);
}

// The source on which all ranks of the group agree, locked on each; this lane's old trunk is given up.
SharedTrunks::Source Lane::claim_trunk(std::span<const int32_t> trunk, int64_t held_tokens) {
  const bool is_leader = tp_.rank() == 0;
  SharedTrunks::Source source;
  if (is_leader) source = trunks_->claim(number_, trunk, held_tokens);
  tp_.broadcast(std::as_writable_bytes(std::span(&source, 1)), 0);
  const bool has_it = is_leader ? source.lane >= 0 : trunks_->follow(number_, trunk, source);
  const bool all_have_it = tp_.all_reduce(int64_t{has_it ? 1 : 0}, comm::Reduce::kMin) == 1;
  if (has_it && !all_have_it) trunks_->release(source);
  return all_have_it ? source : SharedTrunks::Source{};
}

void Lane::make_room(int64_t paths, int64_t positions, int64_t kept_tokens) {
  positions_ = std::max(positions_, positions);
  if (paths > paths_) {
    paths_ = paths;
    ops::KeyValueStore larger = transformer_->make_key_value_store(paths_);
    larger.reserve(positions_);
    larger.copy_from(store_, 0, 0, kept_tokens);
    store_ = std::move(larger);
  }
  store_.reserve(positions_);
}

int64_t Lane::hold_trunk(std::span<const int32_t> trunk, int64_t paths, int64_t positions) {
  const bool is_held = std::equal(held_trunk_.begin(), held_trunk_.end(), trunk.begin(), trunk.end());
  if (is_held && paths <= paths_ && positions <= positions_) return 0;
  const auto held = std::mismatch(held_trunk_.begin(), held_trunk_.end(), trunk.begin(), trunk.end()).first;
  int64_t shared = held - held_trunk_.begin();
  const SharedTrunks::Source source = claim_trunk(trunk, shared);
  try {
    store_.share(0);
    make_room(paths, positions, shared);
  } catch (...) {
    if (source.lane >= 0) trunks_->release(source);
    throw;
  }
  if (source.lane >= 0) {
    trunks_->copy(source, store_);
    shared = source.tokens;
  }
  held_trunk_.clear();
  SegmentBuilder rows(segment_rows_, [&](const model::Segment& segment) { forward(segment); });
  rows.add(0, static_cast<int32_t>(shared), trunk.subspan(static_cast<size_t>(shared)));
  rows.flush();
  held_trunk_.assign(trunk.begin(), trunk.end());
  store_.settle();
  trunks_->publish(number_, store_);
  return static_cast<int64_t>(trunk.size()) - shared;
}

void Lane::run_scores(const ScoreChunk& chunk, ChunkRecord& record) {
  check_ids(chunk.trunk, transformer_->spec().vocab);
  check_ids(chunk.tokens, transformer_->spec().vocab);
  const Targets targets(chunk);
  check_ids(targets.token, transformer_->spec().vocab);

  int64_t longest = static_cast<int64_t>(chunk.trunk.size());
  for (const ScoreChunk::Request& request : chunk.requests) longest = std::max<int64_t>(longest, request.length);
  record.computed_tokens = hold_trunk(chunk.trunk, paths_, longest) + static_cast<int64_t>(chunk.tokens.size());

  std::vector<model::BegunTargets> begun;
  size_t targets_begun = 0;
  int32_t rows_done = 0;
  SegmentBuilder rows(segment_rows_, [&](const model::Segment& segment) {
    const at::Tensor hidden_TD = forward(segment);
    const auto rows_end = rows_done + static_cast<int32_t>(segment.ids.size());
    std::vector<int32_t> rows_R, row_of_target, token_of_target;
    for (; targets_begun < targets.row.size() && targets.row[targets_begun] < rows_end; ++targets_begun) {
      const int32_t row = targets.row[targets_begun] - rows_done;
      if (rows_R.empty() || rows_R.back() != row) rows_R.push_back(row);
      row_of_target.push_back(static_cast<int32_t>(rows_R.size()) - 1);
      token_of_target.push_back(targets.token[targets_begun]);
    }
    rows_done = rows_end;
    if (rows_R.empty()) return;
    begun.push_back(transformer_->begin_targets(hidden_TD, rows_R, row_of_target, token_of_target));
  });
  std::vector<int32_t> end_position(chunk.parent.size());
  for (size_t node = 0; node < chunk.parent.size(); ++node) {
    const int32_t start =
        chunk.parent[node] < 0 ? static_cast<int32_t>(chunk.trunk.size()) : end_position[chunk.parent[node]];
    const int32_t length = chunk.token_begin[node + 1] - chunk.token_begin[node];
    rows.add(0, start, std::span(chunk.tokens).subspan(chunk.token_begin[node], length));
    end_position[node] = start + length;
  }
  rows.flush();

  // All segments are on their way: a device is waited for here alone.
  std::vector<float> logprobs;
  std::vector<uint8_t> is_argmax;
  for (const model::BegunTargets& one : begun) {
    const model::HeadResult head = transformer_->finish_targets(one, tp_);
    logprobs.insert(logprobs.end(), head.logprob_M.begin(), head.logprob_M.end());
    is_argmax.insert(is_argmax.end(), head.is_argmax_M.begin(), head.is_argmax_M.end());
  }

  for (size_t r = 0; r < chunk.requests.size(); ++r) {
    ScoreResult result{chunk.requests[r].key, {}, {}};
    for (const int32_t m : targets.of_request[r]) {
      result.logprobs.push_back(logprobs[m]);
      result.is_argmax.push_back(is_argmax[m]);
    }
    record.scores.push_back(std::move(result));
  }
}

}  // namespace evalmpi::engine

// Generation on a lane: slots of running sequences, refilled in order from the chunk's list.

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <optional>

#include "evalmpi/base/error.h"
#include "evalmpi/engine/lane.h"
#include "next_token.h"
#include "segments.h"

namespace evalmpi::engine {
namespace {

// One running sequence; its keys and values are on path slot + 1 (path 0 holds the trunk).
struct Running {
  size_t request = 0;
  std::vector<int32_t> sequence;  // prompt and output
  size_t computed = 0;            // tokens whose keys and values are in the store
  StopCheck stop;
};

bool is_end(const GenerationSettings& settings, int32_t token) {
  return std::find(settings.eos_ids.begin(), settings.eos_ids.end(), token) != settings.eos_ids.end();
}

}  // namespace

void Lane::run_generations(const GenerateChunk& chunk, const StopCriterion& stop, ChunkRecord& record) {
  const int64_t vocabulary = transformer_->spec().vocab;
  int64_t longest = 0;
  for (const GenerateRequest& request : chunk.requests) {
    for (const int32_t id : request.prompt) {
      if (id < 0 || id >= vocabulary) fail(ExitCode::kBadInput, "token id {} is outside the vocabulary of {}", id, vocabulary);
    }
    longest = std::max(longest, static_cast<int64_t>(request.prompt.size()) + request.max_new_tokens);
  }
  const auto slots = std::min<size_t>(chunk.slots, chunk.requests.size());
  if (paths_ < static_cast<int64_t>(slots) + 1) {
    paths_ = static_cast<int64_t>(slots) + 1;
    store_ = transformer_->make_key_value_store(paths_);
    held_trunk_.clear();
  }
  store_.reserve(longest);
  record.computed_tokens = hold_trunk(chunk.trunk);
  const auto trunk_tokens = static_cast<int64_t>(chunk.trunk.size());

  std::vector<std::optional<Running>> running(slots);
  record.generations.resize(chunk.requests.size());
  size_t next = 0;

  // The hidden rows of a segment's last tokens of each sequence -> one more token for each.
  const auto step = [&](const model::Segment& segment) {
    const at::Tensor hidden_TD = forward(segment);
    std::vector<int32_t> rows_R, slot_of_row;
    for (const ops::AttentionSpan& span : segment.spans) {
      Running& sequence = *running[span.path - 1];
      const size_t prompt_tokens = chunk.requests[sequence.request].prompt.size();
      if (sequence.computed < prompt_tokens) record.computed_tokens += span.length;
      sequence.computed += span.length;
      if (sequence.computed < sequence.sequence.size()) continue;
      rows_R.push_back(span.row + span.length - 1);
      slot_of_row.push_back(span.path - 1);
    }
    if (rows_R.empty()) return;
    const at::Tensor logits_RV = transformer_->logits(hidden_TD, rows_R, tp_).contiguous();
    for (size_t r = 0; r < rows_R.size(); ++r) {
      Running& sequence = *running[slot_of_row[r]];
      const GenerateRequest& request = chunk.requests[sequence.request];
      const std::span<float> logits_V(logits_RV.data_ptr<float>() + static_cast<int64_t>(r) * vocabulary, vocabulary);
      const int32_t token = choose_next_token(logits_V, sequence.sequence, chunk.settings);
      sequence.sequence.push_back(token);
      const auto made = static_cast<int32_t>(sequence.sequence.size() - request.prompt.size());
      const bool stopped = sequence.stop(token);
      if (!stopped && !is_end(chunk.settings, token) && made < request.max_new_tokens) continue;
      GenerateResult& result = record.generations[sequence.request];
      result.key = request.key;
      result.tokens.assign(sequence.sequence.end() - made, sequence.sequence.end());
      running[slot_of_row[r]].reset();
    }
  };

  while (true) {
    SegmentBuilder rows(token_budget_, step);
    bool any = false;
    for (size_t slot = 0; slot < slots; ++slot) {
      if (!running[slot] && next < chunk.requests.size()) {
        const GenerateRequest& request = chunk.requests[next];
        store_.copy_path(0, static_cast<int32_t>(slot) + 1, trunk_tokens);
        running[slot] = Running{next, request.prompt, chunk.trunk.size(), stop(chunk.settings, request)};
        ++next;
      }
    }
    for (size_t slot = 0; slot < slots; ++slot) {
      if (!running[slot]) continue;
      any = true;
      // A copy: computing a full segment appends to the sequence.
      const std::vector<int32_t> fresh(running[slot]->sequence.begin() + static_cast<int64_t>(running[slot]->computed),
                                       running[slot]->sequence.end());
      rows.add(static_cast<int32_t>(slot) + 1, static_cast<int32_t>(running[slot]->computed), fresh);
    }
    rows.flush();
    if (!any) break;
  }
}

}  // namespace evalmpi::engine

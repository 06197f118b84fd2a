#include "decode_step.h"

#include <algorithm>

#include "evalmpi/model/weights.h"

namespace evalmpi::engine {
namespace {

// A recording takes about as long as a few steps.
constexpr int kWorthRecording = 8;

}  // namespace

StepResult DecodeStep::run(const model::Segment& segment, std::span<const int32_t> rows_R) {
  const auto rows = static_cast<int64_t>(rows_R.size());
  const auto plainly = [&] { return finish(begin(transformer_.prepare(segment, store_, rows_R)), rows); };
  if (!may_replay(segment, rows_R)) return plainly();
  if (recording_ && !covers(rows)) {
    recording_.reset();
    equal_steps_ = 0;
  }
  if (recording_) {
    transformer_.refill(recording_->segment, segment, store_);
    recording_->graph->replay();
    return finish(recording_->begun, rows);
  }
  equal_steps_ = rows == rows_before_ ? equal_steps_ + 1 : 1;
  rows_before_ = rows;
  if (equal_steps_ < kWorthRecording) return plainly();
  recording_ =
      std::make_unique<Recording>(Recording{transformer_.prepare(segment, store_, rows_R, options_.positions)});
  recording_->graph = std::make_unique<DeviceGraph>(transformer_.weights().device,
                                                    [this] { recording_->begun = begin(recording_->segment); });
  return finish(recording_->begun, rows);
}

// Whether the recording computes that many rows without more than as many for nothing.
bool DecodeStep::covers(int64_t rows) const {
  const int64_t recorded = recording_->begun.rows;
  return rows <= recorded && 2 * rows > recorded && recording_->segment.plan.fits(store_);
}

DecodeStep::Begun DecodeStep::begin(const model::PreparedSegment& segment) const {
  const at::Tensor hidden_TD =
      transformer_.run_layers(transformer_.embed(segment, tp_), segment, 0, transformer_.spec().layers, store_, tp_);
  const int64_t rows = segment.rows_R.numel();
  if (rows == 0) return {};
  if (options_.wants_logits) return {rows, transformer_.begin_logits(hidden_TD, segment), {}};
  return {rows, {}, transformer_.begin_argmax(hidden_TD, segment)};
}

StepResult DecodeStep::finish(const Begun& begun, int64_t rows) {
  if (rows == 0) return {};
  if (options_.wants_logits) return {transformer_.finish_logits(begun.logits_RV, tp_, rows).contiguous(), {}};
  return {{}, transformer_.finish_argmax(begun.head, tp_, rows)};
}

// Sums over places leave the device, and experts' rows are chosen on the host: both wait.
bool DecodeStep::may_replay(const model::Segment& segment, std::span<const int32_t> rows_R) const {
  if (!options_.replays || tp_.size() > 1 || transformer_.spec().experts.count > 0) return false;
  return rows_R.size() == segment.spans.size() &&
         std::all_of(segment.spans.begin(), segment.spans.end(),
                     [](const ops::AttentionSpan& span) { return span.length == 1 && span.fork < 0; });
}

}  // namespace evalmpi::engine

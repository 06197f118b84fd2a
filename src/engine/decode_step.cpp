#include "decode_step.h"

#include <algorithm>

#include "evalmpi/model/weights.h"

namespace evalmpi::engine {
namespace {

// A recording takes about as long as a few steps.
constexpr int kWorthRecording = 8;

}  // namespace

StepResult DecodeStep::run(const model::Segment& segment, std::span<const int32_t> rows_R) {
  if (!may_replay(segment, rows_R)) {
    rows_before_ = 0;
    recording_.reset();
    return finish(begin(transformer_.prepare(segment, store_, rows_R)));
  }
  if (rows_R.size() != rows_before_) {
    rows_before_ = rows_R.size();
    equal_steps_ = 0;
    recording_.reset();
  }
  if (recording_) {
    transformer_.refill(recording_->segment, segment, store_);
    recording_->graph->replay();
    return finish(recording_->begun);
  }
  if (++equal_steps_ < kWorthRecording) return finish(begin(transformer_.prepare(segment, store_, rows_R)));
  recording_ =
      std::make_unique<Recording>(Recording{transformer_.prepare(segment, store_, rows_R, options_.positions)});
  recording_->graph = std::make_unique<DeviceGraph>(transformer_.weights().device,
                                                    [this] { recording_->begun = begin(recording_->segment); });
  return finish(recording_->begun);
}

DecodeStep::Begun DecodeStep::begin(const model::PreparedSegment& segment) const {
  const at::Tensor hidden_TD =
      transformer_.run_layers(transformer_.embed(segment, tp_), segment, 0, transformer_.spec().layers, store_, tp_);
  const int64_t rows = segment.rows_R.numel();
  if (rows == 0) return {};
  if (options_.wants_logits) return {rows, transformer_.begin_logits(hidden_TD, segment), {}};
  return {rows, {}, transformer_.begin_argmax(hidden_TD, segment)};
}

StepResult DecodeStep::finish(const Begun& begun) {
  if (begun.rows == 0) return {};
  if (options_.wants_logits) return {transformer_.finish_logits(begun.logits_RV, tp_).contiguous(), {}};
  return {{}, transformer_.finish_argmax(begun.head, tp_)};
}

// Sums over places leave the device, and experts' rows are chosen on the host: both wait.
bool DecodeStep::may_replay(const model::Segment& segment, std::span<const int32_t> rows_R) const {
  if (!options_.replays || tp_.size() > 1 || transformer_.spec().experts.count > 0) return false;
  return rows_R.size() == segment.spans.size() &&
         std::all_of(segment.spans.begin(), segment.spans.end(),
                     [](const ops::AttentionSpan& span) { return span.length == 1 && span.fork < 0; });
}

}  // namespace evalmpi::engine

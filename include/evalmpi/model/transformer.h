#pragma once

// The one transformer of all families: a stack of blocks described by ModelSpec, of which this place holds a
// tensor-parallel shard. Immutable after loading, so any number of lanes use one copy.

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "evalmpi/comm/communicator.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/ops/attention.h"
#include "evalmpi/ops/head.h"

namespace evalmpi::model {

class Weights;

// Rows that are computed in one call: token ids, their absolute positions, and how they continue the paths of a
// key-value store (ops/attention.h).
struct Segment {
  std::vector<int32_t> ids;        // [T]
  std::vector<int32_t> positions;  // [T]; row s.row + i of span s is at position s.start + i
  std::vector<ops::AttentionSpan> spans;
  // Every row is a generated token's, in a step of decoding: products of a device then use the kernels that are chosen
  // for few rows (ops::ProductForm), which may differ in bits. So a caller who wants a sequence's bits not to depend on
  // its company marks the same tokens so each time. Without meaning on a CPU.
  bool is_decoding = false;
};

// A segment where the model computes: its numbers on the weights' device, made once for all layers.
struct PreparedSegment {
  at::Tensor ids_T, positions_T;  // int32
  at::Tensor rows_R;              // int32: the rows that the head is asked for
  ops::AttentionPlan plan;
  bool is_decoding = false;
};

// What the head says about M targets on R rows.
struct HeadResult {
  std::vector<float> logprob_M;      // natural log-probability of each target, float32
  std::vector<uint8_t> is_argmax_M;  // 1 where the target is the row's argmax (lowest id on ties)
  std::vector<int32_t> argmax_R;
};

// A head() that is begun: what it needs to say of its targets, and work that may still be under way on a device.
struct BegunTargets {
  ops::BegunHead head;
  std::vector<int32_t> row_of_target, token_of_target;
};

// Held by a thread for as long as it computes without gradients: InferenceMode, and ATen's own loops on one thread
// (both are per thread in libtorch, and lanes are the parallelism).
class InferenceThread {
 public:
  InferenceThread();

 private:
  c10::InferenceMode mode_;
};

class Transformer {
 public:
  // weights: this place's shard (model/weights.h), complete and checked.
  explicit Transformer(std::shared_ptr<const Weights> weights);
  const ModelSpec& spec() const;
  const Weights& weights() const;

  // An empty store for `paths` paths of this place's KV heads, for layers [first_layer, last_layer) of this stage.
  ops::KeyValueStore make_key_value_store(int64_t paths) const;

  // The segment as the functions below take it, admitted to `store` for all its layers: run_layers on all of them comes
  // next. rows_R: for the heads of a prepared segment. room_positions: what refill() may bring, as AttentionPlan's.
  // FAILS: kBadInput for an id outside the vocabulary and for more positions than the model has.
  PreparedSegment prepare(const Segment& segment, ops::KeyValueStore& store, std::span<const int32_t> rows_R = {},
                          int64_t room_positions = 0) const;

  // Puts the next segment into `prepared`, with nothing allocated on the device: a CUDA graph that was captured with
  // `prepared` then computes it. The segment has at most as many rows and spans, none of which is longer than the one
  // in its place; the rows that it lacks are computed as a token without context, and mean nothing. rows_R stays. Such
  // a graph holds embed(), run_layers() and begin_argmax() or begin_logits(); what comes before (this) and after
  // (finish_*) is outside it. Layers with experts wait for the device and cannot be captured. Before a capture the same
  // shape is computed once without one, since products choose their kernels then.
  // REQUIRES: prepared.plan.fits(store). FAILS: as prepare.
  void refill(PreparedSegment& prepared, const Segment& segment, ops::KeyValueStore& store) const;

  // Token embeddings (plus learned positions where the family has them) -> hidden_TD float32, complete on every tp
  // rank. COLLECTIVE over tp.
  at::Tensor embed(const Segment& segment, comm::Communicator& tp) const;
  at::Tensor embed(const PreparedSegment& segment, comm::Communicator& tp) const;

  // Layers [first, last) on hidden_TD; keys and values of the segment enter `store`. COLLECTIVE over tp.
  at::Tensor run_layers(at::Tensor hidden_TD, const Segment& segment, int64_t first, int64_t last,
                        ops::KeyValueStore& store, comm::Communicator& tp) const;
  at::Tensor run_layers(at::Tensor hidden_TD, const PreparedSegment& segment, int64_t first, int64_t last,
                        ops::KeyValueStore& store, comm::Communicator& tp) const;

  // Final norm and head on chosen rows. rows_R: rows of hidden_TD, ascending. Target m asks for token
  // token_of_target[m] at rows_R[row_of_target[m]]; row_of_target ascending. COLLECTIVE over tp; the same on
  // every tp rank. FAILS: kBadInput when a row's logits are NaN or infinite (names the model as damaged).
  HeadResult head(const at::Tensor& hidden_TD, std::span<const int32_t> rows_R, std::span<const int32_t> row_of_target,
                  std::span<const int32_t> token_of_target, comm::Communicator& tp) const;

  // The same in two steps, so that one wait serves many segments: begin_targets only starts work on the weights'
  // device, and finish_targets (COLLECTIVE over tp) waits for it and combines the places.
  BegunTargets begin_targets(const at::Tensor& hidden_TD, std::span<const int32_t> rows_R,
                             std::span<const int32_t> row_of_target, std::span<const int32_t> token_of_target) const;
  HeadResult finish_targets(const BegunTargets& begun, comm::Communicator& tp) const;

  // Full logits of chosen rows for generation -> [R, V] float32, the same bits as head() sees and the same on every
  // tp rank; on the CPU. COLLECTIVE over tp. FAILS: kBadInput on NaN.
  at::Tensor logits(const at::Tensor& hidden_TD, std::span<const int32_t> rows_R, comm::Communicator& tp) const;

  // head() and logits() in two steps for a prepared segment's rows_R: begin_* only starts work on the weights' device,
  // and finish_* (COLLECTIVE over tp) waits for it once and combines the places, for the first `rows` of rows_R.
  // begin_logits gives this place's logits [R, its vocabulary].
  ops::BegunHead begin_argmax(const at::Tensor& hidden_TD, const PreparedSegment& segment) const;
  std::vector<int32_t> finish_argmax(const ops::BegunHead& begun, comm::Communicator& tp, int64_t rows = -1) const;
  at::Tensor begin_logits(const at::Tensor& hidden_TD, const PreparedSegment& segment) const;
  at::Tensor finish_logits(const at::Tensor& mine_RV, comm::Communicator& tp, int64_t rows = -1) const;  // as logits()

 private:
  std::shared_ptr<const Weights> weights_;
};

}  // namespace evalmpi::model

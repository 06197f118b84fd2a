#include "evalmpi/model/transformer.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "block.h"
#include "evalmpi/base/error.h"
#include "evalmpi/model/weights.h"
#include "evalmpi/ops/elementwise.h"
#include "evalmpi/ops/host_numbers.h"

namespace evalmpi::model {
namespace {

// A tensor over the caller's ids or positions, which it keeps alive.
at::Tensor borrow(std::span<const int32_t> values) {
  return at::from_blob(const_cast<int32_t*>(values.data()), {static_cast<int64_t>(values.size())},
                       at::TensorOptions(at::kInt));
}

// Returns the length of the longest sequence.
int64_t check_positions(std::span<const int32_t> positions, int64_t limit) {
  int64_t longest = 0;
  for (const int32_t position : positions) longest = std::max(longest, int64_t{position} + 1);
  if (longest > limit) {
    fail(ExitCode::kBadInput, "a sequence of {} tokens is longer than the model's {} positions", longest, limit);
  }
  return longest;
}

ops::LogitRule logit_rule(const Weights& weights) {
  return {.bias_V = weights.head_bias_V, .scale = weights.spec.logit_scale, .soft_cap = weights.spec.logit_soft_cap};
}

// The head's input [R, D], and behind it what an adapter on the head asks for.
at::Tensor head_input(const Weights& weights, const at::Tensor& hidden_TD, const at::Tensor& rows_R) {
  const ModelSpec& spec = weights.spec;
  at::Tensor rows_RD = hidden_TD.index_select(0, rows_R);
  if (spec.final_norm) rows_RD = normalise(spec, weights.final_norm, rows_RD, weights.product_type);
  if (spec.token_width() != spec.hidden) rows_RD = weights.project_out(rows_RD);
  if (!weights.head_lora) return rows_RD;
  return at::cat({rows_RD, ops::linear(rows_RD, weights.head_lora->a_RD, {}).mul(weights.head_lora->scale)}, 1);
}

void check_token(int32_t id, const ModelSpec& spec) {
  if (id >= 0 && id < spec.vocab) return;
  fail(ExitCode::kBadInput, "token id {} is outside the model's vocabulary of {}: its tokenizer is another model's", id,
       spec.vocab);
}

// A segment's ids and positions, checked; they live as long as the segment.
struct Numbers {
  at::Tensor ids_T, positions_T;
  int64_t longest;
};

Numbers check_segment(const Segment& segment, const Weights& weights) {
  EVALMPI_CHECK(segment.positions.size() == segment.ids.size());
  for (const int32_t id : segment.ids) check_token(id, weights.spec);
  return {borrow(segment.ids), borrow(segment.positions), check_positions(segment.positions, weights.positions)};
}

at::Tensor embed_tokens(const Weights& weights, const at::Tensor& ids_T, const at::Tensor& positions_T,
                        comm::Communicator& tp) {
  const ModelSpec& spec = weights.spec;
  const int64_t first_id = weights.shard.vocab.begin;
  at::Tensor x_TD = tp.all_reduce_sum(spec.tied_head ? ops::embedding(weights.head_VD, ids_T, first_id)
                                                     : ops::embedding(weights.embedding_VD, ids_T, first_id));
  x_TD = times(x_TD, spec.embedding_scale);
  if (spec.token_width() != spec.hidden) x_TD = weights.project_in(x_TD);
  if (weights.position_PD.defined())
    x_TD = x_TD.add(weights.position_PD.index_select(0, positions_T.add(spec.learned_position_offset)));
  return spec.embedding_norm ? normalise(spec, weights.embedding_norm, x_TD) : x_TD;
}

// This place's logits of chosen rows.
at::Tensor shard_logits(const Weights& weights, const at::Tensor& hidden_TD, const at::Tensor& rows_R) {
  return ops::logits(head_input(weights, hidden_TD, rows_R), weights.head_VD, logit_rule(weights));
}

template <typename T>
void append_bytes(std::string& bytes, const std::vector<T>& values) {
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

template <typename T>
void take_bytes(std::string_view& bytes, std::vector<T>& values) {
  const size_t size_bytes = values.size() * sizeof(T);
  EVALMPI_CHECK(bytes.size() >= size_bytes);
  std::copy_n(bytes.data(), size_bytes, reinterpret_cast<char*>(values.data()));  // null where there is none
  bytes.remove_prefix(size_bytes);
}

// All ranks' partial results, in the order of ranks, on all ranks.
std::vector<ops::HeadPartial> exchange(const ops::HeadPartial& mine, comm::Communicator& tp) {
  std::string bytes;
  append_bytes(bytes, mine.max_R);
  append_bytes(bytes, mine.sum_R);
  append_bytes(bytes, mine.argmax_R);
  append_bytes(bytes, mine.target_logit_M);
  std::vector<ops::HeadPartial> partials;
  for (const std::string& text : tp.all_gather(bytes)) {
    ops::HeadPartial partial = mine;
    std::string_view rest = text;
    take_bytes(rest, partial.max_R);
    take_bytes(rest, partial.sum_R);
    take_bytes(rest, partial.argmax_R);
    take_bytes(rest, partial.target_logit_M);
    partials.push_back(std::move(partial));
  }
  return partials;
}

// The whole vocabulary's row: largest logit, its id, and log of the sum of exp(logit - max).
struct CombinedRow {
  float max = -std::numeric_limits<float>::infinity();
  float log_sum = 0.0f;
  int32_t argmax = -1;
};

[[noreturn]] void fail_not_finite(const Weights& weights) {
  const bool is_half = weights.product_type == at::kHalf;
  fail(ExitCode::kBadInput,
       "the model's output holds NaN or infinite logits: its weights are damaged or too large for {}{}",
       is_half                                 ? "float16"
       : weights.product_type == at::kBFloat16 ? "bfloat16"
                                               : "float32",
       is_half ? "; --dtype bfloat16 or float32 has the range that float16 lacks" : "");
}

CombinedRow combine_row(const Weights& weights, const std::vector<ops::HeadPartial>& partials, size_t row) {
  CombinedRow combined;
  for (const ops::HeadPartial& partial : partials) {
    if (!(partial.max_R[row] > combined.max)) continue;  // equal logits: the lower shard has the lower id
    combined.max = partial.max_R[row];
    combined.argmax = partial.argmax_R[row];
  }
  float sum = 0.0f;
  bool has_nan = false;
  for (const ops::HeadPartial& partial : partials) {
    has_nan = has_nan || std::isnan(partial.max_R[row]) || std::isnan(partial.sum_R[row]);
    if (partial.argmax_R[row] < 0) continue;
    sum += partial.sum_R[row] * ops::exp_exact(partial.max_R[row] - combined.max);
  }
  if (has_nan || !std::isfinite(combined.max) || !std::isfinite(sum) || combined.argmax < 0) {
    fail_not_finite(weights);
  }
  combined.log_sum = ops::log_exact(sum);
  return combined;
}

}  // namespace

InferenceThread::InferenceThread() { at::set_num_threads(1); }

Transformer::Transformer(std::shared_ptr<const Weights> weights) : weights_(std::move(weights)) {}

const ModelSpec& Transformer::spec() const { return weights_->spec; }
const Weights& Transformer::weights() const { return *weights_; }

ops::KeyValueStore Transformer::make_key_value_store(int64_t paths) const {
  return ops::KeyValueStore(spec().layers, paths, weights_->shard.kv_heads.size(), spec().head_dim, spec().value_dim(),
                            weights_->device, weights_->product_type);
}

PreparedSegment Transformer::prepare(const Segment& segment, ops::KeyValueStore& store, std::span<const int32_t> rows_R,
                                     int64_t room_positions) const {
  const Numbers numbers = check_segment(segment, *weights_);
  store.reserve(std::max(numbers.longest, room_positions));
  return {.ids_T = ops::to_device(numbers.ids_T, weights_->device),
          .positions_T = ops::to_device(numbers.positions_T, weights_->device),
          .rows_R = ops::to_device(borrow(rows_R), weights_->device),
          .plan = ops::AttentionPlan(store, segment.spans, static_cast<int64_t>(segment.ids.size()),
                                     weights_->shard.kv_head_of_query, room_positions),
          .is_decoding = segment.is_decoding};
}

void Transformer::refill(PreparedSegment& prepared, const Segment& segment, ops::KeyValueStore& store) const {
  const auto rows = static_cast<size_t>(prepared.ids_T.numel());
  EVALMPI_CHECK(segment.ids.size() <= rows && segment.is_decoding == prepared.is_decoding);
  check_segment(segment, *weights_);
  prepared.plan.refill(store, segment.spans);
  std::vector<int32_t> ids = segment.ids, positions = segment.positions;
  ids.resize(rows), positions.resize(rows);
  ops::refill(borrow(ids), prepared.ids_T);
  ops::refill(borrow(positions), prepared.positions_T);
}

at::Tensor Transformer::embed(const Segment& segment, comm::Communicator& tp) const {
  const Numbers numbers = check_segment(segment, *weights_);
  return embed_tokens(*weights_, ops::to_device(numbers.ids_T, weights_->device),
                      ops::to_device(numbers.positions_T, weights_->device), tp);
}

at::Tensor Transformer::embed(const PreparedSegment& segment, comm::Communicator& tp) const {
  return embed_tokens(*weights_, segment.ids_T, segment.positions_T, tp);
}

at::Tensor Transformer::run_layers(at::Tensor hidden_TD, const Segment& segment, int64_t first, int64_t last,
                                   ops::KeyValueStore& store, comm::Communicator& tp) const {
  return run_layers(std::move(hidden_TD), prepare(segment, store), first, last, store, tp);
}

at::Tensor Transformer::run_layers(at::Tensor hidden_TD, const PreparedSegment& segment, int64_t first, int64_t last,
                                   ops::KeyValueStore& store, comm::Communicator& tp) const {
  EVALMPI_CHECK(0 <= first && first <= last && last <= spec().layers);
  Block block{*weights_, segment, store, tp};
  for (block.layer = first; block.layer < last; ++block.layer) {
    const LayerHandle layer = weights_->acquire(block.layer);
    hidden_TD = run_block(block, *layer, hidden_TD);
  }
  return hidden_TD;
}

BegunTargets Transformer::begin_targets(const at::Tensor& hidden_TD, std::span<const int32_t> rows_R,
                                        std::span<const int32_t> row_of_target,
                                        std::span<const int32_t> token_of_target) const {
  EVALMPI_CHECK(row_of_target.size() == token_of_target.size());
  for (const int32_t token : token_of_target) check_token(token, spec());
  const at::Tensor rows_RD = head_input(*weights_, hidden_TD, ops::to_device(borrow(rows_R), weights_->device));
  return {.head = ops::begin_head(rows_RD, weights_->head_VD, logit_rule(*weights_), weights_->shard.vocab.begin,
                                  row_of_target, token_of_target),
          .row_of_target = {row_of_target.begin(), row_of_target.end()},
          .token_of_target = {token_of_target.begin(), token_of_target.end()}};
}

HeadResult Transformer::finish_targets(const BegunTargets& begun, comm::Communicator& tp) const {
  const std::vector<ops::HeadPartial> partials = exchange(ops::finish_head(begun.head), tp);
  std::vector<CombinedRow> rows;
  for (int64_t row = 0; row < begun.head.rows; ++row) rows.push_back(combine_row(*weights_, partials, row));
  HeadResult result;
  for (const CombinedRow& row : rows) result.argmax_R.push_back(row.argmax);
  for (size_t target = 0; target < begun.row_of_target.size(); ++target) {
    const CombinedRow& row = rows[static_cast<size_t>(begun.row_of_target[target])];
    float logit = -std::numeric_limits<float>::infinity();
    for (const ops::HeadPartial& partial : partials) logit = std::max(logit, partial.target_logit_M[target]);
    result.logprob_M.push_back((logit - row.max) - row.log_sum);
    result.is_argmax_M.push_back(begun.token_of_target[target] == row.argmax ? 1 : 0);
  }
  return result;
}

HeadResult Transformer::head(const at::Tensor& hidden_TD, std::span<const int32_t> rows_R,
                             std::span<const int32_t> row_of_target, std::span<const int32_t> token_of_target,
                             comm::Communicator& tp) const {
  return finish_targets(begin_targets(hidden_TD, rows_R, row_of_target, token_of_target), tp);
}

at::Tensor Transformer::logits(const at::Tensor& hidden_TD, std::span<const int32_t> rows_R,
                               comm::Communicator& tp) const {
  const at::Tensor mine_RV = shard_logits(*weights_, hidden_TD, ops::to_device(borrow(rows_R), weights_->device));
  return finish_logits(mine_RV, tp);
}

ops::BegunHead Transformer::begin_argmax(const at::Tensor& hidden_TD, const PreparedSegment& segment) const {
  return ops::begin_head(head_input(*weights_, hidden_TD, segment.rows_R), weights_->head_VD, logit_rule(*weights_),
                         weights_->shard.vocab.begin, {}, {});
}

std::vector<int32_t> Transformer::finish_argmax(const ops::BegunHead& begun, comm::Communicator& tp,
                                                int64_t rows) const {
  if (rows < 0) rows = begun.rows;
  EVALMPI_CHECK(rows <= begun.rows);
  const std::vector<ops::HeadPartial> partials = exchange(ops::finish_head(begun), tp);
  std::vector<int32_t> argmax_R;
  for (int64_t row = 0; row < rows; ++row) argmax_R.push_back(combine_row(*weights_, partials, row).argmax);
  return argmax_R;
}

at::Tensor Transformer::begin_logits(const at::Tensor& hidden_TD, const PreparedSegment& segment) const {
  return shard_logits(*weights_, hidden_TD, segment.rows_R);
}

at::Tensor Transformer::finish_logits(const at::Tensor& mine_RV, comm::Communicator& tp, int64_t rows) const {
  if (rows < 0) rows = mine_RV.size(0);
  const at::Tensor host_RV = mine_RV.narrow(0, 0, rows).cpu().contiguous();
  const at::Tensor all_RV = at::empty({rows, spec().vocab}, host_RV.options());
  float* const all = all_RV.data_ptr<float>();
  const auto bytes = static_cast<size_t>(host_RV.numel()) * sizeof(float);
  int64_t first = 0;
  for (const std::string& shard :
       tp.all_gather(std::string_view(static_cast<const char*>(host_RV.data_ptr()), bytes))) {
    const auto width = static_cast<int64_t>(shard.size() / sizeof(float)) / rows;
    for (int64_t row = 0; row < rows; ++row) {
      std::memcpy(all + row * spec().vocab + first, shard.data() + row * width * static_cast<int64_t>(sizeof(float)),
                  static_cast<size_t>(width) * sizeof(float));
    }
    first += width;
  }
  EVALMPI_CHECK(first == spec().vocab);
  if (std::any_of(all, all + all_RV.numel(), [](float logit) { return std::isnan(logit); })) fail_not_finite(*weights_);
  return all_RV;
}

}  // namespace evalmpi::model

#include "evalmpi/model/transformer.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "evalmpi/base/error.h"
#include "evalmpi/model/weights.h"
#include "evalmpi/ops/elementwise.h"
#include "evalmpi/ops/head.h"

namespace evalmpi::model {
namespace {

// A tensor over the caller's ids or positions, which it keeps alive.
at::Tensor borrow(std::span<const int32_t> values) {
  return at::from_blob(const_cast<int32_t*>(values.data()), {static_cast<int64_t>(values.size())},
                       at::TensorOptions(at::kInt));
}

at::Tensor normalise(const ModelSpec& spec, const Norm& norm, const at::Tensor& x_TD) {
  return spec.norm == NormKind::kRms ? ops::rms_norm(x_TD, norm.weight_D, spec.norm_eps)
                                     : ops::layer_norm(x_TD, norm.weight_D, norm.bias_D, spec.norm_eps);
}

at::Tensor plus(const at::Tensor& x_TD, const at::Tensor& bias_D) { return bias_D.defined() ? x_TD.add(bias_D) : x_TD; }

// What one call of run_layers works on.
struct Block {
  const Weights& weights;
  const Segment& segment;
  at::Tensor positions_T;
  ops::KeyValueStore& store;
  int64_t layer = 0;
};

at::Tensor heads_view(const at::Tensor& x_TK, int64_t heads, int64_t head_dim) {
  return x_TK.view({x_TK.size(0), heads, head_dim});
}

// This place's part of the sum over tp; the output's bias is not in it.
at::Tensor attention_part(const Block& block, const LayerWeights& layer, const at::Tensor& x_TD) {
  const Weights& weights = block.weights;
  const ModelSpec& spec = weights.spec;
  const RankShard& shard = weights.shard;
  const int64_t G = shard.kv_heads.size();
  const at::Tensor q_TNH = ops::rotary(heads_view(layer.query(x_TD), shard.query_heads.size(), spec.head_dim),
                                       block.positions_T, weights.rotary_cos_PR, weights.rotary_sin_PR);
  const at::Tensor k_TGH = ops::rotary(heads_view(layer.key(x_TD), G, spec.head_dim), block.positions_T,
                                       weights.rotary_cos_PR, weights.rotary_sin_PR);
  const at::Tensor v_TGH = heads_view(layer.value(x_TD), G, spec.head_dim);
  const double scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
  const at::Tensor mixed = ops::attention(q_TNH, k_TGH, v_TGH, block.segment.spans, block.store, block.layer,
                                          shard.kv_head_of_query, scale, spec.sliding_window);
  return layer.attention_out(mixed);
}

at::Tensor mlp_part(const ModelSpec& spec, const LayerWeights& layer, const at::Tensor& x_TD) {
  switch (spec.mlp_kind) {
    case MlpKind::kGatedSilu: return layer.down(ops::silu_mul(layer.gate(x_TD), layer.up(x_TD)));
    case MlpKind::kGeluErf: return layer.down(ops::gelu(layer.up(x_TD), ops::Gelu::kErf));
    case MlpKind::kGeluTanh: return layer.down(ops::gelu(layer.up(x_TD), ops::Gelu::kTanh));
  }
  fail(ExitCode::kInternal, "no such MLP");
}

at::Tensor run_block(const Block& block, const LayerWeights& layer, const at::Tensor& hidden_TD,
                     comm::Communicator& tp) {
  const ModelSpec& spec = block.weights.spec;
  const at::Tensor attended_TD = attention_part(block, layer, normalise(spec, layer.attention_norm, hidden_TD));
  if (spec.parallel_residual) {
    const at::Tensor mlp_TD = mlp_part(spec, layer, normalise(spec, layer.mlp_norm, hidden_TD));
    const at::Tensor both_TD = tp.all_reduce_sum(attended_TD.add(mlp_TD));
    return hidden_TD.add(plus(plus(both_TD, layer.attention_out_bias_D), layer.down_bias_D));
  }
  const at::Tensor middle_TD = hidden_TD.add(plus(tp.all_reduce_sum(attended_TD), layer.attention_out_bias_D));
  const at::Tensor mlp_TD = mlp_part(spec, layer, normalise(spec, layer.mlp_norm, middle_TD));
  return middle_TD.add(plus(tp.all_reduce_sum(mlp_TD), layer.down_bias_D));
}

void check_token(int32_t id, const ModelSpec& spec) {
  if (id >= 0 && id < spec.vocab) return;
  fail(ExitCode::kBadInput, "token id {} is outside the model's vocabulary of {}: its tokenizer is another model's", id,
       spec.vocab);
}

template <typename T>
void append_bytes(std::string& bytes, const std::vector<T>& values) {
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

template <typename T>
void take_bytes(std::string_view& bytes, std::vector<T>& values) {
  const size_t size_bytes = values.size() * sizeof(T);
  EVALMPI_CHECK(bytes.size() >= size_bytes);
  std::memcpy(values.data(), bytes.data(), size_bytes);
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

[[noreturn]] void fail_not_finite() {
  fail(ExitCode::kBadInput,
       "the model's output holds NaN or infinite logits: its weights are damaged or too large for float32");
}

CombinedRow combine_row(const std::vector<ops::HeadPartial>& partials, size_t row) {
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
    fail_not_finite();
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
  return ops::KeyValueStore(spec().layers, paths, weights_->shard.kv_heads.size(), spec().head_dim);
}

at::Tensor Transformer::embed(const Segment& segment, comm::Communicator& tp) const {
  for (const int32_t id : segment.ids) check_token(id, spec());
  const at::Tensor ids_T = borrow(segment.ids);
  const int64_t first_id = weights_->shard.vocab.begin;
  return tp.all_reduce_sum(spec().tied_head ? ops::embedding(weights_->head_VD, ids_T, first_id)
                                            : ops::embedding(weights_->embedding_VD, ids_T, first_id));
}

at::Tensor Transformer::run_layers(at::Tensor hidden_TD, const Segment& segment, int64_t first, int64_t last,
                                   ops::KeyValueStore& store, comm::Communicator& tp) const {
  EVALMPI_CHECK(0 <= first && first <= last && last <= spec().layers);
  EVALMPI_CHECK(segment.positions.size() == segment.ids.size());
  int64_t positions = 0;
  for (const ops::AttentionSpan& span : segment.spans) {
    positions = std::max(positions, static_cast<int64_t>(span.start) + span.length);
  }
  if (positions > weights_->rotary_cos_PR.size(0)) {
    fail(ExitCode::kBadInput, "a sequence of {} tokens is longer than the model's {} positions", positions,
         weights_->rotary_cos_PR.size(0));
  }
  store.reserve(positions);
  Block block{*weights_, segment, borrow(segment.positions), store};
  for (block.layer = first; block.layer < last; ++block.layer) {
    const LayerHandle layer = weights_->acquire(block.layer);
    hidden_TD = run_block(block, *layer, hidden_TD, tp);
  }
  return hidden_TD;
}

HeadResult Transformer::head(const at::Tensor& hidden_TD, std::span<const int32_t> rows_R,
                             std::span<const int32_t> row_of_target, std::span<const int32_t> token_of_target,
                             comm::Communicator& tp) const {
  EVALMPI_CHECK(row_of_target.size() == token_of_target.size());
  for (const int32_t token : token_of_target) check_token(token, spec());
  const at::Tensor rows_RD = normalise(spec(), weights_->final_norm, hidden_TD.index_select(0, borrow(rows_R)));
  const ops::HeadPartial mine =
      ops::head(rows_RD, weights_->head_VD, at::Tensor(), weights_->shard.vocab.begin, row_of_target, token_of_target);
  const std::vector<ops::HeadPartial> partials = exchange(mine, tp);
  std::vector<CombinedRow> rows;
  for (size_t row = 0; row < rows_R.size(); ++row) rows.push_back(combine_row(partials, row));
  HeadResult result;
  for (const CombinedRow& row : rows) result.argmax_R.push_back(row.argmax);
  for (size_t target = 0; target < row_of_target.size(); ++target) {
    const CombinedRow& row = rows[static_cast<size_t>(row_of_target[target])];
    float logit = -std::numeric_limits<float>::infinity();
    for (const ops::HeadPartial& partial : partials) logit = std::max(logit, partial.target_logit_M[target]);
    result.logprob_M.push_back((logit - row.max) - row.log_sum);
    result.is_argmax_M.push_back(token_of_target[target] == row.argmax ? 1 : 0);
  }
  return result;
}

at::Tensor Transformer::logits(const at::Tensor& hidden_TD, std::span<const int32_t> rows_R,
                               comm::Communicator& tp) const {
  const at::Tensor rows_RD = normalise(spec(), weights_->final_norm, hidden_TD.index_select(0, borrow(rows_R)));
  const at::Tensor mine_RV = ops::linear(rows_RD, weights_->head_VD, at::Tensor()).contiguous();
  const auto rows = static_cast<int64_t>(rows_R.size());
  const at::Tensor all_RV = at::empty({rows, spec().vocab}, mine_RV.options());
  float* const all = all_RV.data_ptr<float>();
  const auto bytes = static_cast<size_t>(mine_RV.numel()) * sizeof(float);
  int64_t first = 0;
  for (const std::string& shard : tp.all_gather(std::string_view(static_cast<const char*>(mine_RV.data_ptr()), bytes))) {
    const auto width = static_cast<int64_t>(shard.size() / sizeof(float)) / rows;
    for (int64_t row = 0; row < rows; ++row) {
      std::memcpy(all + row * spec().vocab + first, shard.data() + row * width * static_cast<int64_t>(sizeof(float)),
                  static_cast<size_t>(width) * sizeof(float));
    }
    first += width;
  }
  EVALMPI_CHECK(first == spec().vocab);
  if (std::any_of(all, all + all_RV.numel(), [](float logit) { return std::isnan(logit); })) fail_not_finite();
  return all_RV;
}

}  // namespace evalmpi::model

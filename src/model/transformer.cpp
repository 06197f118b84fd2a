#include "evalmpi/model/transformer.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "evalmpi/base/error.h"
#include "evalmpi/model/weights.h"
#include "evalmpi/ops/elementwise.h"
#include "evalmpi/ops/experts.h"
#include "evalmpi/ops/host_numbers.h"

namespace evalmpi::model {
namespace {

// A tensor over the caller's ids or positions, which it keeps alive.
at::Tensor borrow(std::span<const int32_t> values) {
  return at::from_blob(const_cast<int32_t*>(values.data()), {static_cast<int64_t>(values.size())},
                       at::TensorOptions(at::kInt));
}

at::Tensor normalise(const ModelSpec& spec, const Norm& norm, const at::Tensor& x_TD, at::ScalarType out = at::kFloat) {
  return spec.norm == NormKind::kRms ? ops::rms_norm(x_TD, norm.weight_D, spec.norm_eps, out)
                                     : ops::layer_norm(x_TD, norm.weight_D, norm.bias_D, spec.norm_eps, out);
}

at::Tensor plus(const at::Tensor& x_TD, const at::Tensor& bias_D) { return bias_D.defined() ? x_TD.add(bias_D) : x_TD; }

at::Tensor times(const at::Tensor& x_TD, double factor) { return factor == 1 ? x_TD : x_TD.mul(factor); }

// What one call of run_layers works on.
struct Block {
  const Weights& weights;
  const PreparedSegment& segment;
  ops::KeyValueStore& store;
  comm::Communicator& tp;
  int64_t layer = 0;

  const ModelSpec& spec() const { return weights.spec; }
  at::ScalarType type() const { return weights.product_type; }  // of rows that products read
  // Of products whose rows stay here, and of those that are summed or read by the host.
  ops::ProductForm inner() const { return {.out = type(), .few_rows = segment.is_decoding}; }
  ops::ProductForm outer() const { return {.few_rows = segment.is_decoding}; }
  const LayerSpec& layer_spec() const { return weights.spec.layer[static_cast<size_t>(layer)]; }
};

at::Tensor clipped(const at::Tensor& x_TK, double limit) { return limit == 0 ? x_TK : x_TK.clamp(-limit, limit); }

// x_TK: queries or keys of this place's heads, of `all_heads` over all places.
at::Tensor normalise_heads(const Block& block, const Norm& norm, const at::Tensor& x_TK, int64_t all_heads) {
  const ModelSpec& spec = block.spec();
  const int64_t H = spec.head_dim;
  switch (spec.query_key_norm) {
    case QueryKeyNorm::kNone: return x_TK;
    case QueryKeyNorm::kHead: return normalise(spec, norm, x_TK.view({-1, H}), block.type()).view(x_TK.sizes());
    case QueryKeyNorm::kEachHead:
      return ops::layer_norm_of_heads(x_TK.view({-1, H}), norm.weight_D, spec.norm_eps, block.type())
          .view(x_TK.sizes());
    case QueryKeyNorm::kAll: {
      const at::Tensor squares_T1 = block.tp.all_reduce_sum(ops::square_sums(x_TK));
      return ops::rms_norm_of(x_TK, squares_T1, all_heads * H, norm.weight_D, spec.norm_eps, block.type());
    }
  }
  fail(ExitCode::kInternal, "no such norm of queries and keys");
}

at::Tensor with_positions(const Block& block, const at::Tensor& x_TNH) {
  const int rotary = block.layer_spec().rotary;
  return rotary < 0
             ? x_TNH
             : ops::rotary(x_TNH, block.segment.positions_T, block.weights.rotaries[static_cast<size_t>(rotary)]);
}

at::Tensor heads_view(const at::Tensor& x_TK, int64_t heads, int64_t head_dim) {
  return x_TK.contiguous().view({x_TK.size(0), heads, head_dim});
}

// Queries, keys and values of this place's heads, before their positions.
struct Heads {
  at::Tensor q_TNH, k_TGH, v_TGU;
};

Heads project(const Block& block, const LayerWeights& layer, const at::Tensor& x_TD) {
  const ModelSpec& spec = block.spec();
  const RankShard& shard = block.weights.shard;
  const int64_t N = shard.query_heads.size(), G = shard.kv_heads.size(), H = spec.head_dim;
  const double clip = spec.query_key_value_clip;
  const at::Tensor q_TK =
      normalise_heads(block, layer.query_norm, clipped(layer.query(x_TD, block.inner()), clip), spec.heads);
  const at::Tensor k_TK =
      normalise_heads(block, layer.key_norm, clipped(layer.key(x_TD, block.inner()), clip), spec.kv_heads);
  return {heads_view(q_TK, N, H), heads_view(k_TK, G, H),
          heads_view(clipped(layer.value(x_TD, block.inner()), clip), G, H)};
}

// The same of latent attention: keys and values are spread out over the heads, then everything is as elsewhere.
Heads project_latent(const Block& block, const LayerWeights& layer, const at::Tensor& x_TD) {
  const ModelSpec& spec = block.spec();
  const LatentSpec& latent = spec.latent;
  const int64_t T = x_TD.size(0), N = block.weights.shard.query_heads.size(), G = block.weights.shard.kv_heads.size();
  const int64_t C = latent.key_value_rank, own = spec.head_dim - latent.rotary_dim;
  const auto narrow_norm = [&](const at::Tensor& x, const Norm& norm) {
    return ops::rms_norm(x.contiguous(), norm.weight_D, latent.norm_eps, block.type());
  };
  const at::Tensor q_TQ =
      latent.query_rank > 0 ? narrow_norm(layer.query_down(x_TD, block.inner()), layer.query_down_norm) : x_TD;
  const at::Tensor down_TK = layer.key_value_down(x_TD, block.inner());
  const at::Tensor c_TC = narrow_norm(down_TK.narrow(1, 0, C), layer.key_value_down_norm);
  const at::Tensor shared_TGR = down_TK.narrow(1, C, latent.rotary_dim).unsqueeze(1).expand({T, G, latent.rotary_dim});
  const at::Tensor k_TGH = at::cat({heads_view(layer.key(c_TC, block.inner()), G, own), shared_TGR}, 2);
  return {heads_view(layer.query(q_TQ, block.inner()), N, spec.head_dim), k_TGH,
          heads_view(layer.value(c_TC, block.inner()), G, latent.value_dim)};
}

// This place's part of the sum over tp; the output's bias is not in it.
at::Tensor attention_part(const Block& block, const LayerWeights& layer, const at::Tensor& x_TD) {
  const ModelSpec& spec = block.spec();
  const Heads heads = spec.latent.key_value_rank > 0 ? project_latent(block, layer, x_TD) : project(block, layer, x_TD);
  const at::Tensor q_TNH = with_positions(block, heads.q_TNH), k_TGH = with_positions(block, heads.k_TGH);
  const ops::AttentionRule rule{.scale = spec.attention_scale,
                                .window = block.layer_spec().sliding_window,
                                .soft_cap = spec.attention_soft_cap,
                                .bias_NP = block.weights.alibi_NP,
                                .sink_N = layer.sinks_N};
  return layer.attention_out(
      ops::attention(q_TNH, k_TGH, heads.v_TGU, block.segment.plan, block.store, block.layer, rule), block.outer());
}

at::Tensor run_mlp(const Block& block, const Mlp& mlp, const at::Tensor& x_TD) {
  const ModelSpec& spec = block.spec();
  const ops::ProductForm inner = block.inner(), outer = block.outer();
  if (spec.gate_limit > 0) {
    const at::Tensor gate_TF = mlp.gate(x_TD, inner).clamp_max(spec.gate_limit);
    const at::Tensor up_TF = mlp.up(x_TD, inner).clamp(-spec.gate_limit, spec.gate_limit).add(spec.up_offset);
    return mlp.down(ops::activate_mul(spec.activation, gate_TF, up_TF), outer);
  }
  if (spec.gated_mlp)
    return mlp.down(ops::activate_mul(spec.activation, mlp.gate(x_TD, inner), mlp.up(x_TD, inner)), outer);
  return mlp.down(ops::activate(spec.activation, mlp.up(x_TD, inner)), outer);
}

ops::RouteRule route_rule(const ExpertSpec& experts, const LayerWeights& layer) {
  return {.per_token = experts.per_token,
          .is_sigmoid = experts.is_sigmoid,
          .renormalise = experts.renormalise,
          .scale = experts.scale,
          .correction_E = layer.router_correction_E,
          .groups = experts.groups,
          .groups_per_token = experts.groups_per_token,
          .group_best = experts.group_best};
}

// This place's part of the experts' weighted sum: each expert on its tokens, added in ascending order of experts.
at::Tensor run_experts(const Block& block, const LayerWeights& layer, const at::Tensor& x_TD) {
  const ModelSpec& spec = block.spec();
  const ops::Routes routes = ops::route(layer.router(x_TD, block.outer()), route_rule(spec.experts, layer));
  at::Tensor sum_TD = at::zeros_like(x_TD, at::kFloat);
  for (size_t expert = 0; expert < layer.experts.size(); ++expert) {
    const ops::ExpertRows& rows = routes.of_expert[expert];
    if (rows.rows_R.numel() == 0) continue;
    const at::Tensor y_RD = run_mlp(block, layer.experts[expert], x_TD.index_select(0, rows.rows_R));
    sum_TD = ops::add_rows(std::move(sum_TD), rows, y_RD);
  }
  if (spec.experts.shared_mlp == 0) return sum_TD;
  const at::Tensor shared_TD = run_mlp(block, layer.shared, x_TD);
  return sum_TD.add(spec.experts.has_shared_gate ? shared_TD.mul(ops::sigmoid(layer.shared_router(x_TD, block.outer())))
                                                 : shared_TD);
}

at::Tensor mlp_part(const Block& block, const LayerWeights& layer, const at::Tensor& x_TD) {
  return block.layer_spec().has_experts ? run_experts(block, layer, x_TD) : run_mlp(block, layer.mlp, x_TD);
}

at::Tensor run_parallel(const Block& block, const LayerWeights& layer, const at::Tensor& hidden_TD) {
  const ModelSpec& spec = block.spec();
  const at::Tensor normed_TD = normalise(spec, layer.attention_norm, hidden_TD, block.type());
  const at::Tensor for_mlp_TD =
      spec.parallel_shares_norm ? normed_TD : normalise(spec, layer.mlp_norm, hidden_TD, block.type());
  const at::Tensor both_TD =
      block.tp.all_reduce_sum(attention_part(block, layer, normed_TD).add(mlp_part(block, layer, for_mlp_TD)));
  return hidden_TD.add(times(plus(plus(both_TD, layer.attention_out_bias_D), layer.down_bias_D), spec.residual_scale));
}

at::Tensor run_block(const Block& block, const LayerWeights& layer, const at::Tensor& hidden_TD) {
  const ModelSpec& spec = block.spec();
  if (spec.parallel_residual) return run_parallel(block, layer, hidden_TD);
  const auto before = [&](const Norm& norm, const at::Tensor& x_TD) {
    return spec.norm_before ? normalise(spec, norm, x_TD, block.type()) : x_TD.to(block.type());
  };
  // What a half adds to the residual.
  const auto finished = [&](const at::Tensor& part_TD, const at::Tensor& bias_D, const Norm& norm) {
    const at::Tensor whole_TD = plus(block.tp.all_reduce_sum(part_TD), bias_D);
    return times(spec.norm_after ? normalise(spec, norm, whole_TD) : whole_TD, spec.residual_scale);
  };
  const auto of_sum = [&](const at::Tensor& sum_TD, const Norm& norm) {
    return spec.norm_of_sum ? normalise(spec, norm, sum_TD) : sum_TD;
  };
  const at::Tensor attended_TD = attention_part(block, layer, before(layer.attention_norm, hidden_TD));
  const at::Tensor middle_TD =
      of_sum(hidden_TD.add(finished(attended_TD, layer.attention_out_bias_D, layer.attention_post_norm)),
             layer.attention_post_norm);
  const at::Tensor mlp_TD = mlp_part(block, layer, before(layer.mlp_norm, middle_TD));
  return of_sum(middle_TD.add(finished(mlp_TD, layer.down_bias_D, layer.mlp_post_norm)), layer.mlp_post_norm);
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

HeadResult Transformer::head(const at::Tensor& hidden_TD, std::span<const int32_t> rows_R,
                             std::span<const int32_t> row_of_target, std::span<const int32_t> token_of_target,
                             comm::Communicator& tp) const {
  EVALMPI_CHECK(row_of_target.size() == token_of_target.size());
  for (const int32_t token : token_of_target) check_token(token, spec());
  const at::Tensor rows_RD = head_input(*weights_, hidden_TD, ops::to_device(borrow(rows_R), weights_->device));
  const ops::HeadPartial mine = ops::head(rows_RD, weights_->head_VD, logit_rule(*weights_),
                                          weights_->shard.vocab.begin, row_of_target, token_of_target);
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
  for (int64_t row = 0; row < rows; ++row) argmax_R.push_back(combine_row(partials, static_cast<size_t>(row)).argmax);
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
  if (std::any_of(all, all + all_RV.numel(), [](float logit) { return std::isnan(logit); })) fail_not_finite();
  return all_RV;
}

}  // namespace evalmpi::model

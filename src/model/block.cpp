#include "block.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>

#include <utility>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/elementwise.h"
#include "evalmpi/ops/experts.h"

namespace evalmpi::model {

at::Tensor normalise(const ModelSpec& spec, const Norm& norm, const at::Tensor& x_TD, at::ScalarType out) {
  return spec.norm == NormKind::kRms ? ops::rms_norm(x_TD, norm.weight_D, spec.norm_eps, out)
                                     : ops::layer_norm(x_TD, norm.weight_D, norm.bias_D, spec.norm_eps, out);
}

namespace {

at::Tensor plus(const at::Tensor& x_TD, const at::Tensor& bias_D) { return bias_D.defined() ? x_TD.add(bias_D) : x_TD; }

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

}  // namespace

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

}  // namespace evalmpi::model

#include "random_weights.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include <algorithm>

#include "evalmpi/base/error.h"
#include "evalmpi/model/tensor_table.h"

namespace evalmpi::bench {
namespace {

constexpr double kDeviation = 0.02;

void check_is_llama(const model::ModelSpec& spec) {
  const std::vector<model::TensorRow> table = model::make_tensor_table(spec);
  const bool has_bias =
      std::any_of(table.begin(), table.end(), [](const auto& row) { return row.part == model::Part::kBias; });
  if (has_bias || spec.experts.count > 0 || spec.latent.key_value_rank > 0 || spec.rotaries.size() != 1 ||
      !spec.gated_mlp || spec.tied_head || spec.parallel_residual) {
    fail(ExitCode::kUsage, "random weights are made for the shape of a Llama only, not for {}", spec.architecture);
  }
}

}  // namespace

std::shared_ptr<const model::Weights> random_llama(const model::ModelSpec& spec, at::Device device,
                                                   at::ScalarType type) {
  check_is_llama(spec);
  const auto matrix = [&](int64_t rows, int64_t columns) {
    return at::randn({rows, columns}, at::TensorOptions(device).dtype(type)).mul_(kDeviation);
  };
  const auto linear = [&](int64_t rows, int64_t columns) {
    return model::Linear{ops::PackedLinear::pack(matrix(rows, columns)), {}};
  };
  const auto norm = [&] {
    return model::Norm{at::ones({spec.hidden}, at::TensorOptions(device).dtype(at::kFloat)), {}};
  };
  const int64_t D = spec.hidden, query = spec.heads * spec.head_dim, key = spec.kv_heads * spec.head_dim;
  auto weights = std::make_shared<model::Weights>();
  weights->spec = spec;
  weights->shard = model::make_shard_plan(spec, 1).ranks.front();
  weights->device = device;
  weights->product_type = device.is_cpu() ? at::kFloat : type;
  weights->embedding_VD = matrix(spec.vocab, D);
  for (int64_t i = 0; i < spec.layers; ++i) {
    model::LayerWeights layer;
    layer.attention_norm = norm();
    layer.query = linear(query, D);
    layer.key = linear(key, D);
    layer.value = linear(key, D);
    layer.attention_out = linear(D, query);
    layer.mlp_norm = norm();
    layer.mlp = {linear(spec.mlp, D), linear(spec.mlp, D), linear(D, spec.mlp)};
    weights->layers.push_back(std::move(layer));
  }
  weights->final_norm = norm();
  weights->head_VD = ops::PackedLinear::pack(matrix(spec.vocab, D));
  weights->positions = spec.max_positions;
  ops::RotaryTable table = model::make_rotary_table(spec.rotaries.front(), spec.max_positions);
  table.cos_PR = table.cos_PR.to(device);
  table.sin_PR = table.sin_PR.to(device);
  weights->rotaries.push_back(std::move(table));
  return weights;
}

}  // namespace evalmpi::bench

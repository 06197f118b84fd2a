#pragma once

// One block of the transformer: attention and MLP or experts around the residual, as the family's spec arranges them.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "evalmpi/comm/communicator.h"
#include "evalmpi/model/transformer.h"
#include "evalmpi/model/weights.h"
#include "evalmpi/ops/linear.h"

namespace evalmpi::model {

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

// hidden_TD float32, complete on every place -> the same after the block. COLLECTIVE over tp.
at::Tensor run_block(const Block& block, const LayerWeights& layer, const at::Tensor& hidden_TD);

// The family's kind of norm; in `out`.
at::Tensor normalise(const ModelSpec& spec, const Norm& norm, const at::Tensor& x_TD, at::ScalarType out = at::kFloat);

// x_TD * factor; without work for a factor of 1.
inline at::Tensor times(const at::Tensor& x_TD, double factor) { return factor == 1 ? x_TD : x_TD.mul(factor); }

}  // namespace evalmpi::model

#pragma once

// A model of random weights that is made where it is computed: for measurements of models whose files nobody has at
// hand. Nothing that evaluates reads it.

#include <ATen/core/Tensor.h>

#include <memory>

#include "evalmpi/model/weights.h"

namespace evalmpi::bench {

// A Llama's tensors (no biases, rotary positions, gated SiLU), normal with deviation 0.02, norms of ones, in `type` on
// `device`. FAILS: kUsage for a spec that has other tensors.
std::shared_ptr<const model::Weights> random_llama(const model::ModelSpec& spec, at::Device device,
                                                   at::ScalarType type);

}  // namespace evalmpi::bench

#include "evalmpi/engine/probe.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>

#include "evalmpi/model/weights.h"
#include "within_memory.h"

namespace evalmpi::engine {

void run_largest_shape(const model::Transformer& transformer, int64_t rows, const ProbeShape& shape) {
  const model::ModelSpec& spec = transformer.spec();
  const model::Weights& weights = transformer.weights();
  comm::Communicator alone = comm::Communicator::self();
  const int64_t positions = std::clamp<int64_t>(shape.positions, 1, weights.positions);
  ops::KeyValueStore store = transformer.make_key_value_store(shape.paths);
  store.reserve(positions);
  model::Segment segment;
  std::vector<int32_t> all_rows(static_cast<size_t>(rows)), targets(all_rows.size(), 0);
  std::iota(all_rows.begin(), all_rows.end(), 0);
  for (int32_t row = 0; row < rows;) {
    const auto length = static_cast<int32_t>(std::min<int64_t>(rows - row, positions));
    segment.spans.push_back({.path = 0, .start = 0, .row = row, .length = length});
    for (int32_t i = 0; i < length; ++i, ++row) {
      segment.ids.push_back(static_cast<int32_t>(row % spec.vocab));
      segment.positions.push_back(i);
    }
  }
  // Two copies of the residual, as a sum over places has them.
  const at::Tensor reduced = at::empty({2, rows, spec.hidden}, at::TensorOptions(weights.device).dtype(at::kFloat));
  const at::Tensor hidden_TD =
      transformer.run_layers(transformer.embed(segment, alone), segment, 0, spec.layers, store, alone);
  // What comes out means nothing without the other places, and is not looked at.
  ops::finish_head(transformer.begin_targets(hidden_TD, all_rows, all_rows, targets).head);
}

int64_t largest_step(int64_t rows, const std::function<int64_t(int64_t)>& next,
                     const std::function<void(int64_t)>& attempt) {
  for (; rows > 0; rows = next(rows)) {
    try {
      attempt(rows);
      empty_device_caches();
      return rows;
    } catch (const c10::OutOfMemoryError&) {
      empty_device_caches();
    }
  }
  return 0;
}

}  // namespace evalmpi::engine

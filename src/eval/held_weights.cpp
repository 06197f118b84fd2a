#include "held_weights.h"

#include "evalmpi/model/adapter.h"

namespace evalmpi::eval {
namespace {

// What with_adapter() made of the model, undone.
model::ModelSpec without_adapter(model::ModelSpec spec) {
  spec.tied_head = spec.tied_head || spec.adapter->unties_head();
  spec.adapter = nullptr;
  return spec;
}

}  // namespace

HeldWeights::Loaded HeldWeights::load(size_t place, const std::filesystem::path& folder, const model::ModelSpec& spec,
                                      const model::ShardPlan& plan, int tp_rank, const model::LoadOptions& options) {
  Held& held = held_.at(place);
  const std::filesystem::path adapter = spec.adapter ? spec.adapter->folder() : std::filesystem::path();
  if (held.weights && held.model == folder && held.adapter == adapter) return {held.weights, 0};
  if (held.model != folder) held = {};
  held.weights = nullptr;
  held.model = folder;
  held.adapter = adapter;
  uint64_t bytes_read = 0;
  if (!held.base && (keeps_base_ || adapter.empty())) {
    const model::ModelSpec below = spec.adapter ? without_adapter(spec) : spec;
    held.base = model::load_weights(folder, below, plan, tp_rank, options);
    bytes_read = held.base->bytes_read;
  }
  if (adapter.empty()) {
    held.weights = held.base;
  } else {
    model::LoadOptions on_base = options;
    on_base.base = held.base;
    held.weights = model::load_weights(folder, spec, plan, tp_rank, on_base);
    bytes_read += held.weights->bytes_read;
  }
  return {held.weights, bytes_read};
}

}  // namespace evalmpi::eval

#pragma once

// The weights of a rank's places, kept from one run of a job to the next: shot counts share all of them, adapters those
// of the model below.

#include <filesystem>
#include <memory>
#include <vector>

#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/model/weights.h"

namespace evalmpi::eval {

class HeldWeights {
 public:
  // keeps_base: an adapter's model is loaded without it first, for the other adapters of the job.
  explicit HeldWeights(bool keeps_base) : keeps_base_(keeps_base) {}

  // Before places ask for weights. Not while they do.
  void make_room(size_t places) { held_.resize(std::max(places, held_.size())); }

  struct Loaded {
    std::shared_ptr<const model::Weights> weights;
    uint64_t bytes_read = 0;  // from files, by this call
  };
  // What is held of another model is let go before this one is read. Different places may ask at the same time.
  // FAILS: as model::load_weights.
  Loaded load(size_t place, const std::filesystem::path& folder, const model::ModelSpec& spec,
              const model::ShardPlan& plan, int tp_rank, const model::LoadOptions& options);

 private:
  struct Held {
    std::filesystem::path model, adapter;
    std::shared_ptr<const model::Weights> base;     // without an adapter
    std::shared_ptr<const model::Weights> weights;  // of `adapter`; base where there is none
  };
  bool keeps_base_;
  std::vector<Held> held_;
};

}  // namespace evalmpi::eval

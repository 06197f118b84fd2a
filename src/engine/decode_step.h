#pragma once

// The steps of a generation: the model on a segment, and what it says of the tokens that follow some of its rows.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device_graph.h"
#include "evalmpi/comm/communicator.h"
#include "evalmpi/model/transformer.h"

namespace evalmpi::engine {

// The logits of each row, on the CPU, or only the most probable token.
struct StepResult {
  at::Tensor logits_RV;
  std::vector<int32_t> argmax_R;
};

struct StepOptions {
  bool wants_logits = false;
  // Steps of one row on each of the same number of paths are recorded and replayed (device_graph.h).
  bool replays = false;
  int64_t positions = 0;  // that a path has at most
};

// For one chunk: neither the store's capacity nor what its paths share changes while this lives.
class DecodeStep {
 public:
  DecodeStep(const model::Transformer& transformer, comm::Communicator& tp, ops::KeyValueStore& store,
             const StepOptions& options)
      : transformer_(transformer), tp_(tp), store_(store), options_(options) {}

  // rows_R: ascending; may be none. COLLECTIVE over tp. FAILS: as the transformer's functions.
  StepResult run(const model::Segment& segment, std::span<const int32_t> rows_R);

 private:
  // What the model leaves on the device: the tensors of the two are those of a recording.
  struct Begun {
    int64_t rows = 0;
    at::Tensor logits_RV;
    ops::BegunHead head;
  };
  struct Recording {
    model::PreparedSegment segment;
    Begun begun = {};
    std::unique_ptr<DeviceGraph> graph = nullptr;
  };

  Begun begin(const model::PreparedSegment& segment) const;
  StepResult finish(const Begun& begun, int64_t rows);
  bool covers(int64_t rows) const;
  bool may_replay(const model::Segment& segment, std::span<const int32_t> rows_R) const;

  const model::Transformer& transformer_;
  comm::Communicator& tp_;
  ops::KeyValueStore& store_;
  const StepOptions options_;
  int64_t rows_before_ = 0;               // of the step before that could have been replayed
  int equal_steps_ = 0;                   // in a row, with so many rows
  std::unique_ptr<Recording> recording_;  // of as many rows, of which later steps may lack some
};

}  // namespace evalmpi::engine

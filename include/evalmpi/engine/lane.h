#pragma once

// A lane runs chunks on a replica: one thread, its own keys and values, weights shared with the other lanes.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "evalmpi/comm/communicator.h"
#include "evalmpi/engine/chunk.h"
#include "evalmpi/engine/shared_trunks.h"
#include "evalmpi/model/transformer.h"

namespace evalmpi::engine {

// Told each new token of one generation; returns true when the generation should end with it.
using StopCheck = std::function<bool(int32_t token)>;
// Makes the check for one request. The engine knows token ids only; stop strings live behind this, in settings.stop.
using StopCriterion = std::function<StopCheck(const GenerationSettings& settings, const GenerateRequest& request)>;

class Lane {
 public:
  // tp: this lane's communicator within the replica. A segment has at most token_budget rows. trunks: of the lanes of
  // this place.
  Lane(std::shared_ptr<const model::Transformer> transformer, comm::Communicator tp, int64_t token_budget,
       Hash128 numerics_class, std::shared_ptr<SharedTrunks> trunks = std::make_shared<SharedTrunks>());

  // A chunk for which the device has no memory is computed in smaller steps from now on, and its record is of this
  // class. Not without: then such a chunk fails.
  void allow_split(Hash128 class_of_split_chunks) { split_class_ = class_of_split_chunks; }

  // From now on steps of generation that repeat are recorded on the device and replayed (CUDA graphs).
  void replay_steps(bool replays) { replays_steps_ = replays; }

  // Computes one chunk and returns its record (encoded ChunkRecord). The bits of a result depend on its request and the
  // numerics class, not on the chunk. COLLECTIVE over tp: every rank gets the same bytes and returns the same record.
  // A device without memory for the chunk is asked a second time, with everything that was held let go; with other
  // ranks in the group it is not, since they wait inside the chunk.
  // FAILS: kBadInput for a malformed chunk or token ids outside the vocabulary; kUnavailable "out of memory: ...";
  // whatever the model throws.
  std::string run(std::string_view chunk, const StopCriterion& stop);

  comm::Communicator& communicator() { return tp_; }
  // Hash of the trunk whose keys and values are held (PlannedChunk::prefix), for affinity.
  Hash128 held_prefix() const;

 private:
  void compute(const Chunk& chunk, const StopCriterion& stop, ChunkRecord& record);
  void run_scores(const ScoreChunk& chunk, ChunkRecord& record);
  void run_generations(const GenerateChunk& chunk, const StopCriterion& stop, ChunkRecord& record);
  // Makes path 0 hold `trunk`, and room for `paths` paths of `positions` positions. Returns how many rows were
  // computed.
  int64_t hold_trunk(std::span<const int32_t> trunk, int64_t paths, int64_t positions);
  SharedTrunks::Source claim_trunk(std::span<const int32_t> trunk, int64_t held_tokens);
  void make_room(int64_t paths, int64_t positions, int64_t kept_tokens);
  at::Tensor forward(const model::Segment& segment);
  void let_go();

  std::shared_ptr<const model::Transformer> transformer_;
  comm::Communicator tp_;
  const int64_t token_budget_;
  int64_t segment_rows_;  // token_budget_, or less while a chunk is computed for which memory was short
  Hash128 numerics_class_;
  std::optional<Hash128> split_class_;
  bool replays_steps_ = false;
  ops::KeyValueStore store_;
  int64_t paths_ = 1;
  int64_t positions_ = 0;            // for which every path has room
  std::vector<int32_t> held_trunk_;  // path 0 holds the keys and values of these tokens
  std::shared_ptr<SharedTrunks> trunks_;
  int number_;  // this lane in trunks_
};

}  // namespace evalmpi::engine

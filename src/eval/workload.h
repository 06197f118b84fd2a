#pragma once

// Documents as token requests: each rank encodes a slice of them, rank 0 gets them all.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "encode.h"
#include "evalmpi/base/hash.h"
#include "evalmpi/comm/communicator.h"
#include "evalmpi/engine/plan.h"
#include "evalmpi/engine/request.h"
#include "evalmpi/task/task.h"
#include "generation.h"

namespace evalmpi::eval {

// What some documents in a row ask, in the order of (document, index).
struct Encoded {
  std::vector<int32_t> position;  // of the document
  std::vector<int32_t> index;
  std::vector<int32_t> targets;         // 0: a generation
  std::vector<int32_t> max_new_tokens;  // 0: a score
  std::vector<int32_t> tokens;
  std::vector<int64_t> token_begin{0};
  // Documents that cannot be asked, and why; they have no requests.
  std::vector<int32_t> refused;
  std::vector<std::string> reasons;

  void add_score(int64_t document, int32_t request_index, const EncodedPair& pair);
  void add_generation(int64_t document, int32_t request_index, const std::vector<int32_t>& prompt, int32_t new_tokens);
};

// The requests of one part of a run in the order of (document, index). keys[i] names the answer of request i; requests
// of equal content share a key. The windows of a rolling log-likelihood are requests 0, 1, .. of their document, which
// may have none.
struct TaskRequests {
  std::vector<int32_t> position;  // of the document among the evaluated ones
  std::vector<int32_t> index;
  std::vector<Hash128> keys;
  // Of request i: [token_begin[i], token_begin[i + 1]). Chunks that are not made yet share them.
  std::shared_ptr<const std::vector<int32_t>> tokens;
  std::vector<int64_t> token_begin{0};
  std::vector<int32_t> targets;         // 0: a generation
  std::vector<int32_t> max_new_tokens;  // 0: a score
  std::vector<int32_t> refused;         // documents without requests
  std::vector<std::string> reasons;     // of each of these
  // Each request is answered so often. Answer a is repeat a % repeats of request a / repeats.
  int32_t repeats = 1;
  size_t size() const { return keys.size(); }
  size_t answers() const { return keys.size() * static_cast<size_t>(repeats); }
  Hash128 answer_key(size_t answer) const;  // keys[i] for the first repeat of request i
};

// Encodes documents [first, last); const and safe from several threads.
using EncodeDocuments = std::function<Encoded(int64_t first, int64_t last)>;

// COLLECTIVE over world. Of so many documents every rank encodes a slice on up to `threads` threads; rank 0 returns all
// requests, the others none. model_id: hash of weights and tokenizer, part of every key. generation: of requests
// without targets; rank 0's counts. FAILS: as encode, on all ranks.
TaskRequests encode_slices(comm::Communicator& world, const std::string& what, int64_t documents,
                           const EncodeDocuments& encode, const std::optional<GenerationPlan>& generation,
                           const Hash128& model_id, int threads);

// This rank's documents: [first, last).
struct Slice {
  int64_t first = 0, last = 0;
};
Slice slice_of(int64_t documents, int rank, int ranks);

// The requests of a task. COLLECTIVE: as encode_slices. model_id: hash of weights and tokenizer, part of every key.
// `generation` belongs to generate_until tasks. FAILS: kBadInput naming task and document, on the rank that found it
// (call it in run_together's way: it agrees before it gathers).
TaskRequests encode_task(comm::Communicator& world, const task::Task& task, const PromptEncoder& encoder,
                         const std::optional<GenerationPlan>& generation, const Hash128& model_id, int threads);

// Chunks for the requests whose key is_missing, each key once, and the token counts of all requests.
struct PlannedTask {
  engine::Plan plan;             // of what is missing
  std::vector<Hash128> missing;  // keys, each once
  int64_t naive_tokens = 0;      // of all requests
  int64_t distinct_tokens = 0;
};
PlannedTask plan_task(const TaskRequests& requests, const std::optional<GenerationPlan>& generation,
                      int64_t token_budget, const std::function<bool(const Hash128&)>& is_known);

// The prompt of the first evaluated document and what is right for it, for a reader (--write-out).
std::string first_prompt_text(const task::Task& task);

}  // namespace evalmpi::eval

#pragma once

// An adapter's LoRA on one place's shard of a model.

#include <functional>

#include "evalmpi/model/adapter.h"
#include "evalmpi/model/weights.h"

namespace evalmpi::model {

// A slice of the weight below the adapter (after replacement by the adapter's own tensors), [out, in] in a file's
// dtype.
using BaseReader = std::function<at::Tensor(const TensorRow& row, const Slice& slice)>;

// float32, in memory of its own. FAILS: kBadInput, naming file and tensor, for NaN and infinity.
at::Tensor read_adapter_tensor(const Checkpoint& file, const std::string& name, const std::vector<int64_t>& shape,
                               const Slice& slice);

// FAILS: always, kBadInput. where: the magnitudes whose row has no direction.
[[noreturn]] void fail_no_norm(const std::string& where);

// Gives every linear its terms, the embedding its sum, and the head its further columns. DoRA's norms of whole rows are
// computed here: where a linear is cut by columns each place reads the rows whole, so that nothing is exchanged and the
// norms do not depend on the number of places.
// FAILS: kBadInput for NaN and infinity in the adapter, and rows of norm 0 under DoRA.
void add_adapter_terms(const Adapter& adapter, const BaseReader& read_base, bool pack, Weights& weights);

// Bytes that add_adapter_terms adds for one row of the table in memory; 0 without LoRA. base_bytes: those of the row's
// shard without it.
int64_t adapter_term_bytes(const Adapter& adapter, const TensorRow& row, const ModelSpec& spec, const RankShard& shard,
                           int64_t base_bytes);

}  // namespace evalmpi::model

#pragma once

// How a checkpoint's files answer the tensor table, from their headers alone: no weights are read here.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/model/tensor_table.h"

namespace evalmpi::model {

// What these files call the row's tensor: checkpoints of a family's bare model lack the first part of each name.
std::string name_in_files(const Checkpoint& checkpoint, const TensorRow& row);

// A slice of the row in logical coordinates [out, in], from the tensor `name`: a view into the file where it can be.
// Not finite values are as they are. FAILS: as Checkpoint::check.
at::Tensor read_row(const Checkpoint& checkpoint, const std::string& name, const TensorRow& row, const Slice& slice);

// FAILS: as Checkpoint::check, for the first row that does not fit.
void check_headers(const Checkpoint& checkpoint, std::span<const TensorRow> table);

// Tensors that the model does not use, apart from known buffers and copies of a tied head: a sign of a wrong
// config.json, but also of harmless leftovers.
std::vector<std::string> names_left_out(const Checkpoint& checkpoint, std::span<const TensorRow> table,
                                        const ModelSpec& spec);

// Bytes that load_weights reads for this shard; rows that the files lack count nothing.
uint64_t bytes_to_read(const Checkpoint& checkpoint, std::span<const TensorRow> table, const ModelSpec& spec,
                       const RankShard& shard);

}  // namespace evalmpi::model

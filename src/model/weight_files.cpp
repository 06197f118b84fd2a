#include "evalmpi/model/weight_files.h"

#include <set>

#include "mxfp4.h"

namespace evalmpi::model {
namespace {

uint64_t product(const std::vector<int64_t>& shape) {
  uint64_t elements = 1;
  for (const int64_t size : shape) elements *= static_cast<uint64_t>(size);
  return elements;
}

}  // namespace

std::string name_in_files(const Checkpoint& checkpoint, const TensorRow& row) {
  if (checkpoint.find(row.source_name) != nullptr) return row.source_name;
  const std::string bare = row.source_name.substr(row.source_name.find('.') + 1);
  return checkpoint.find(bare) != nullptr ? bare : row.source_name;
}

at::Tensor read_row(const Checkpoint& checkpoint, const std::string& name, const TensorRow& row, const Slice& slice) {
  const Slice in_file = source_slice(row, slice);
  if (row.source.storage == Storage::kMxfp4) return read_mxfp4(checkpoint, name, row, in_file);
  const at::Tensor tensor = checkpoint.read(name, row.source.shape, in_file);
  return row.source.is_transposed ? tensor.t() : tensor;
}

void check_headers(const Checkpoint& checkpoint, std::span<const TensorRow> table) {
  for (const TensorRow& row : table) {
    const std::string name = name_in_files(checkpoint, row);
    if (row.source.storage == Storage::kMxfp4) {
      check_mxfp4(checkpoint, name, row);
    } else {
      checkpoint.check(name, row.source.shape);
    }
  }
}

std::vector<std::string> names_left_out(const Checkpoint& checkpoint, std::span<const TensorRow> table,
                                        const ModelSpec& spec) {
  std::set<std::string> known;
  for (const TensorRow& row : table) {
    const std::string name = name_in_files(checkpoint, row);
    known.insert(name);
    if (row.source.storage == Storage::kMxfp4) known.insert(mxfp4_scales_name(name));
  }
  std::vector<std::string> names;
  for (const auto& [name, entry] : checkpoint.tensors()) {
    const bool tied_copy = spec.tied_head && (name == "lm_head.weight" || name == "embed_out.weight");
    if (!known.contains(name) && !is_known_buffer(name) && !tied_copy) names.push_back(name);
  }
  return names;
}

uint64_t bytes_to_read(const Checkpoint& checkpoint, std::span<const TensorRow> table, const ModelSpec& spec,
                       const RankShard& shard) {
  uint64_t bytes = 0;
  for (const TensorRow& row : table) {
    const TensorEntry* entry = checkpoint.find(name_in_files(checkpoint, row));
    if (entry == nullptr) continue;
    const uint64_t here = product(shard_shape(row, shard_slice(row, spec, shard)));
    const uint64_t in_file = product(row.source.shape);
    if (row.source.storage == Storage::kMxfp4) {
      bytes += here / 2 + here / kMxfp4Block;
    } else if (in_file > 0) {
      bytes += entry->bytes.size() / in_file * here;
    }
  }
  return bytes;
}

}  // namespace evalmpi::model
